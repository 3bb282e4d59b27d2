"""The file of a recording: JSON lines that are only ever appended, whole up to the last one after a crash.

The first line is the heading; then one line for each measured step, one for each look at the validation
batch, and one that says how it ended. Whoever reads it needs neither JAX nor the model.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.recording.thinning import Thinned
from gradscope.records import Ending, Heading, History, LossRecord, StepRecord, ValidationRecord
from gradscope.records.history import QUANTITIES
from gradscope.serialization.atomic_write import check_writable
from gradscope.serialization.codec import Mismatch, decoder, encode

FORMAT = 1
MARK = "gradscope-recording"


class Recording:
    """Appends to a new file; every line has left the process before the next step is recorded."""

    def __init__(self, path: str, heading: Heading) -> None:
        """Raises `GradscopeError` where the file exists and is not empty: a recording is not written over."""
        self._path = path
        self._out = _opened(path)
        self._line({MARK: FORMAT, **encode(heading)})

    def add(self, record: StepRecord) -> None:
        self._line(encode(record))

    def add_losses(self, record: LossRecord) -> None:
        self._line({"after": record.step, "losses": encode(record.losses)})

    def add_validation(self, record: ValidationRecord) -> None:
        self._line({"validated": record.step, "loss": encode(record.loss)})

    def end(self, ending: Ending, steps: int, batches_per_pass: int | None = None) -> None:
        self._line({"end": ending.value, "steps": steps, "batches_per_pass": batches_per_pass})
        self.close()

    def close(self) -> None:
        """Without a word of how the training ended."""
        self._out.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, value: Any) -> None:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        try:
            data = text.encode() + b"\n"
            while data:
                data = data[self._out.write(data) :]
        except OSError as error:
            raise GradscopeError(
                f'"{self._path}" could not be written to.',
                why=f"{error.strerror or type(error).__name__}. What was recorded before is whole.",
                fix="Make room, or record to another file with --record.",
                slug="unwritable-output",
            ) from error


def require_new(path: str) -> None:
    """Raise now what `Recording` would raise after minutes of compiling."""
    check_writable(path)
    if os.path.isfile(path) and os.path.getsize(path):
        raise _exists(path)


def _opened(path: str) -> FileIO:
    try:
        out = open(path, "ab", buffering=0)  # noqa: SIM115  # it is open as long as the training runs
    except OSError as error:
        raise GradscopeError(
            f'"{path}" cannot be written.',
            why=f"{error.strerror or type(error).__name__}.",
            fix="Name a file in a folder that exists and that you may write to.",
            slug="unwritable-output",
        ) from error
    if os.fstat(out.fileno()).st_size:
        out.close()
        raise _exists(path)
    return out


def _exists(path: str) -> GradscopeError:
    return GradscopeError(
        f'"{path}" exists already.',
        why="A recording is only ever appended to, and this one belongs to another training.",
        fix="Name a new file with --record, or remove this one.",
        slug="unwritable-output",
    )


@dataclass
class Reader:
    """Reads a recording as far as it goes; call `more` again for what was appended since."""

    path: str
    thinned: Thinned | None = None
    ending: Ending = Ending.RUNNING
    _place: int = 0
    _lines: int = 0
    cut_off: bool = False
    """The last line is not whole."""

    def more(self) -> bool:
        """Whether anything was new. Raises `GradscopeError` where the file is no recording."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._place)
                data = file.read()
        except OSError as error:
            raise GradscopeError(
                f'"{self.path}" cannot be read.',
                why=f"{error.strerror or error}.",
                slug="unreadable-recording",
            ) from error
        *whole, rest = data.split(b"\n")
        self.cut_off = bool(rest)
        for line in whole:
            self._lines += 1
            self._read(line)
            self._place += len(line) + 1
        if self.thinned is None and rest:
            raise self._no_recording("Its first line is not whole")
        return bool(whole)

    def history(self) -> History:
        """Of what was read; `more` has found a heading."""
        if self.thinned is None:
            raise self._no_recording("It is empty")
        return self.thinned.history(self.ending, cut_off=self.cut_off)

    def _read(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            if not isinstance(found, dict):
                raise Mismatch("it is no object")
            if self.thinned is None:
                self.thinned = Thinned(self._heading(found))
            elif "end" in found:
                self.ending = Ending(found["end"])
                self.thinned.batches_per_pass = found.get("batches_per_pass")
                self.thinned.steps = int(found.get("steps", self.thinned.steps))
            elif "after" in found:
                record = {"step": found["after"], "losses": found["losses"]}
                self.thinned.add_losses(decoder(LossRecord)(record, "losses"))
            elif "validated" in found:
                record = {"step": found["validated"], "loss": found["loss"]}
                self.thinned.add_validation(decoder(ValidationRecord)(record, "validation"))
            else:
                self.thinned.add(self._step(found, self.thinned.heading))
        except (Mismatch, ValueError, KeyError, RecursionError) as error:
            raise self._no_recording(f"Line {self._lines} cannot be read: {error}") from error

    def _heading(self, found: dict[str, Any]) -> Heading:
        version = found.get(MARK)
        if version is None:
            raise Mismatch(f'it has no "{MARK}"')
        if version != FORMAT:
            raise GradscopeError(
                f"The recording has format {version}, and this gradscope reads {FORMAT}.",
                why="It was written by another version of gradscope.",
                fix="Read it with that version.",
                slug="unknown-format",
            )
        heading: Heading = decoder(Heading)(found, "the heading")
        if not set(heading.quantities) <= set(QUANTITIES):
            raise Mismatch("it has quantities that are not known")
        return heading

    def _step(self, found: dict[str, Any], heading: Heading) -> StepRecord:
        record: StepRecord = decoder(StepRecord)(found, "the step")
        wide = len(heading.layers)
        if len(record.values) != len(heading.quantities) or any(len(row) != wide for row in record.values):
            raise Mismatch("its numbers are not those of the layers in the heading")
        if record.step < (self.thinned.steps if self.thinned else 0):
            raise Mismatch("its step is not after the one before")
        return record

    def _no_recording(self, why: str) -> GradscopeError:
        return GradscopeError(
            f'"{self.path}" is not a recording of gradscope.',
            why=f"{why}.",
            fix="Write one with `gradscope monitor TARGET --record FILE`.",
            slug="unreadable-recording",
        )


def read(path: str) -> tuple[Heading, History]:
    """A whole recording. Raises `GradscopeError` where it is none."""
    reader = Reader(path)
    reader.more()
    history = reader.history()
    if reader.thinned is None or not history.spans:
        raise GradscopeError(
            f'"{path}" holds no step.',
            why="The training was stopped before its first step was measured.",
            fix="Record again.",
            slug="unreadable-recording",
        )
    return reader.thinned.heading, history


def is_recording(path: str) -> bool:
    """By how the file begins."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MARK) + 3).startswith(f'{{"{MARK}"'.encode())
    except OSError:
        return False
