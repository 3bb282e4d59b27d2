"""The baseline file: what is known of each target, one entry a line, so that a diff shows what changed.

It holds no times, no line numbers and no versions: the same run of the same code gives the same bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.records import KnownFinding, LayerProfile
from gradscope.records.options import in_ci
from gradscope.serialization import atomic_write
from gradscope.serialization.codec import Mismatch, decoder, encode

FORMAT = 1
KIND = "gradscope-baseline"
DIGITS = 3
"""Significant digits: what a change is measured in is factors."""
_SEEDS = 10**6


@dataclass(frozen=True, slots=True)
class BaselineEntry:
    """One target, as it was."""

    findings: tuple[KnownFinding, ...]
    layers: tuple[LayerProfile, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline file as it was read."""

    path: str
    """As messages name it."""
    entries: Mapping[str, BaselineEntry]

    @classmethod
    def read(cls, path: str) -> Baseline:
        """Raises `GradscopeError` where the file is missing or no baseline."""
        return cls(path, load(path))

    def entry(self, target: str) -> BaselineEntry | None:
        """`None` where it does not know the target."""
        return self.entries.get(key_of(target, self.path))

    def only(self, target: str) -> Baseline:
        """What it says of this target: enough for the process that judges it."""
        entry = self.entry(target)
        return Baseline(self.path, {} if entry is None else {key_of(target, self.path): entry})

    def gone(self) -> list[str]:
        """Targets whose file is not there any more: what was known of them is out of date."""
        folder = os.path.dirname(os.path.realpath(self.path))
        return [name for name in self.entries if not _is_there(name, folder)]


def key_of(target: str, baseline: str) -> str:
    """How a baseline names a target: a file by its path from the baseline's folder, wherever one stands."""
    where, colon, name = target.rpartition(":")
    if not colon or os.path.exists(target):
        where, colon, name = target, "", ""
    if not (os.path.exists(where) or where.endswith(".py")):
        return target
    folder = os.path.dirname(os.path.realpath(baseline))
    try:
        path = os.path.relpath(os.path.realpath(where), folder)
    except ValueError:  # on another drive
        path = os.path.realpath(where)
    return Path(path).as_posix() + colon + name


def load(path: str) -> dict[str, BaselineEntry]:
    """By target. Raises `GradscopeError` where the file is missing or no baseline."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise GradscopeError(
            f'The baseline "{path}" cannot be read.',
            why=f"{error.strerror or type(error).__name__}.",
            fix=f"Write it: `gradscope check --write-baseline {path}`.",
            slug="unreadable-baseline",
        ) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, "It is not text in UTF-8") from error
    try:
        return _decoded(json.loads(text), path)
    except (Mismatch, ValueError, RecursionError, OverflowError) as error:
        raise _unreadable(path, _reason(error)) from error


def save(path: str, entries: Mapping[str, BaselineEntry]) -> None:
    """Whole or not at all. Targets of the file that are not in `entries` stay, unless their file is gone."""
    kept = load(path) if os.path.exists(path) and os.path.getsize(path) else {}
    folder = os.path.dirname(os.path.realpath(path))
    kept = {name: entry for name, entry in kept.items() if _is_there(name, folder)}
    atomic_write.write_whole(path, dumps({**kept, **entries}))


def check_writable(path: str) -> None:
    """Raise now what `save` would raise after minutes of compiling."""
    if in_ci():
        raise GradscopeError(
            "A baseline is not written in CI.",
            why="The environment variable CI is set: a job that writes what it is judged by never fails.",
            fix="Write it on your machine and commit it; in a job that is meant to, run it with `CI=`.",
            slug="baseline-in-ci",
        )
    atomic_write.check_writable(path)
    if os.path.exists(path) and os.path.getsize(path):
        load(path)


def dumps(entries: Mapping[str, BaselineEntry]) -> str:
    """Plain ASCII, as all JSON of gradscope: names come from a user's model."""
    targets = ",\n".join(_target(name, entry) for name, entry in sorted(entries.items()))
    body = f"{{\n{targets}\n }}" if targets else "{}"
    return f'{{\n "kind": "{KIND}",\n "format": {FORMAT},\n "targets": {body}\n}}\n'


def _target(name: str, entry: BaselineEntry) -> str:
    lists = f"{_list('findings', entry.findings)},\n{_list('layers', entry.layers)}"
    return f"  {json.dumps(name)}: {{\n{lists}\n  }}"


def _list(name: str, records: Sequence[KnownFinding | LayerProfile]) -> str:
    lines = ",\n".join(f"    {json.dumps(_short(record), allow_nan=False)}" for record in records)
    return f'   "{name}": [\n{lines}\n   ]' if lines else f'   "{name}": []'


def _short(record: KnownFinding | LayerProfile) -> dict[str, Any]:
    """Without what is not known, and in few digits."""
    found = {field.name: encode(getattr(record, field.name)) for field in fields(record)}
    return {key: _rounded(value) for key, value in found.items() if value is not None}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if not isinstance(value, float):
        return value
    # The largest doubles round to infinity, which no JSON has.
    short = float(f"{value:.{DIGITS}g}")
    return short if math.isfinite(short) else value


def _decoded(data: Any, path: str) -> dict[str, BaselineEntry]:
    if not (isinstance(data, dict) and data.get("kind") == KIND and type(data.get("format")) is int):
        raise Mismatch(f'It has no "kind": "{KIND}" and "format"')
    if data["format"] != FORMAT:
        raise GradscopeError(
            f'The baseline "{path}" has format {data["format"]}, and this gradscope reads format {FORMAT}.',
            why="It was written by another version of gradscope.",
            fix=f"Write it again: `gradscope check --write-baseline` to a new file, in the place of {path}.",
            slug="unreadable-baseline",
        )
    targets = data.get("targets")
    if not isinstance(targets, dict):
        raise Mismatch('"targets" is not an object')
    return {name: _entry(name, value) for name, value in targets.items()}


def _entry(name: str, value: Any) -> BaselineEntry:
    if not isinstance(value, dict):
        raise Mismatch(f'"{name}" is not an object')
    findings = [
        {"layer": None, "parameter": None, "evidence": {}, **f} if isinstance(f, dict) else f
        for f in _listed(value, "findings", name)
    ]
    layers = [
        {"delta_norm": None, "activation_rms": None, **p} if isinstance(p, dict) else p
        for p in _listed(value, "layers", name)
    ]
    known = decoder(tuple[KnownFinding, ...])(findings, f"{name}.findings")
    if any(each.votes is not None and not 0 < each.votes.found <= each.votes.of <= _SEEDS for each in known):
        raise Mismatch(f'"{name}.findings" has votes that no run gives')
    return BaselineEntry(
        known,
        decoder(tuple[LayerProfile, ...])(layers, f"{name}.layers"),
    )


def _listed(value: Mapping[str, Any], key: str, name: str) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise Mismatch(f'"{name}.{key}" is not a list')
    return found


def _is_there(name: str, folder: str) -> bool:
    """Whether the file of an entry still is; of the name of a module nobody knows."""
    where = name.rpartition(":")[0] if not name.endswith(".py") else name
    return not where.endswith(".py") or os.path.exists(os.path.join(folder, where))


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"It is not JSON, or was cut off: {error.msg} at line {error.lineno}"
    return str(error) if isinstance(error, Mismatch) else "It holds values that no baseline has"


def _unreadable(path: str, why: str) -> GradscopeError:
    return GradscopeError(
        f'"{path}" is not a baseline of gradscope.',
        why=f"{why}.",
        fix="Name the file that `gradscope check --write-baseline FILE` wrote.",
        slug="unreadable-baseline",
    )
