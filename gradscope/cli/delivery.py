"""From a report to what the user asked for: rendered, written and judged. No arithmetic."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from gradscope import gate, recording, rules
from gradscope.cli import screen
from gradscope.cli.options import Color, check_format
from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import Report
from gradscope.report import FORMATS, View, reporter

SCREEN = "-"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the result is wanted; checked by `prepare` before any work is done for it."""

    format: str
    output: str
    fail_on: str
    show_all: bool
    color: Color
    quiet: bool
    save: str | None = None

    def prepare(self, source: str, more_rules: Iterable[str] = ()) -> gate.Policy:
        """Raise what would otherwise be raised after minutes of compiling; `source` is the user's file."""
        check_format(self.format, FORMATS)
        if self.save == SCREEN:
            raise GradscopeError(
                '"--save -" names no file.', fix="Use `--format json --output -`.", slug="unwritable-output"
            )
        written = [path for path in (self.output, self.save) if path not in (None, SCREEN)]
        for path in written:
            _refuse_input(str(path), source)
            recording.check_writable(str(path))
        if len(written) != len({os.path.realpath(str(path)) for path in written}):
            raise GradscopeError(
                f'"{self.output}" is named twice.',
                why="--output and --save would overwrite each other.",
                fix="Give each a file of its own.",
                slug="unwritable-output",
            )
        return gate.parse(self.fail_on, _rule_names(more_rules))

    def deliver(self, report: Report, policy: gate.Policy) -> int:
        """Show and save the report, and answer the exit code."""
        if self.save is not None:
            recording.save(report, self.save)
        self._render(report)
        code = gate.exit_code(report, policy)
        if code == ExitCode.FINDINGS and report.verdict == "healthy" and not self.quiet:
            screen.tell(f"exit code {code}: there are findings that --fail-on {self.fail_on} names")
        return code

    def _render(self, report: Report) -> None:
        self.show(partial(reporter(self.format).render, report))

    def show(self, render: Callable[[TextIO, View], None]) -> None:
        """Write what `render` writes to where it is wanted."""
        to_file = self.output != SCREEN
        # Rendered in memory, with the encoding that it will meet: a file is written whole or not at all.
        encoding = "utf-8" if to_file else sys.stdout.encoding or "utf-8"
        page = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="\n")
        color = screen.colored(None if to_file else sys.stdout, self.color)
        view = View(screen.width(to_file), color, self.show_all, self.quiet)
        render(page, view)
        page.seek(0)
        if to_file:
            recording.write_whole(self.output, page.read())
        else:
            screen.emit(page.read())


def _rule_names(more: Iterable[str]) -> Iterator[str]:
    """Lazy: where no rule is named, none is imported."""
    yield from (rule.name for rule in rules.all_rules())
    yield from more


def _refuse_input(path: str, source: str) -> None:
    if os.path.exists(source) and os.path.realpath(path) == os.path.realpath(source):
        raise GradscopeError(
            f'"{path}" would overwrite what it is made from.',
            fix="Name another file.",
            slug="unwritable-output",
        )
