"""Renders, writes and judges a run as the options ask. No arithmetic."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TextIO

from gradscope.cli import screen, step_summary, surroundings
from gradscope.cli.options import (
    ColorMode,
    Format,
    MoreReports,
    NoProgress,
    NoTiming,
    Output,
    Quiet,
    Save,
    ShowAll,
    Verbose,
    check_format,
)
from gradscope.cli.screen import Color
from gradscope.errors import ExitCode, GradscopeError
from gradscope.gate import policy
from gradscope.records import Outcome, Policy, Report, Suite, TargetError, Timing
from gradscope.report import FORMATS, View, reporter
from gradscope.report.exports import EXPORTS, exported
from gradscope.serialization import atomic_write, suite_json

if TYPE_CHECKING:
    from gradscope.cli.progress import StageLine

SCREEN = "-"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where and how to write the result; checked by `prepare` before any work is done for it."""

    format: str = "terminal"
    output: str = SCREEN
    more: tuple[tuple[str, str], ...] = ()
    """Format and file of each further report."""
    exports: tuple[tuple[str, str], ...] = ()
    """Format and file of each table of a training."""
    save: str | None = None
    show_all: bool = False
    verbose: bool = False
    quiet: bool = False
    color: Color = Color.AUTO
    progress: bool = True
    timing: bool = True

    def prepare(self, *sources: str) -> None:
        """Raise what would otherwise be raised after minutes of compiling; `sources` are the user's files."""
        for name in (self.format, *(name for name, _ in self.more)):
            check_format(name, FORMATS)
        for name, _ in self.exports:
            check_format(name, EXPORTS)
        if self.save == SCREEN:
            raise GradscopeError(
                '"--save -" does not name a file.',
                fix="Use `--format json --output -`.",
                slug="unwritable-output",
            )
        written: dict[str, str] = {}
        for path in (self.output, *(path for _, path in (*self.more, *self.exports)), self.save):
            if path is None or path == SCREEN:
                continue
            for source in sources:
                _refuse_input(path, source)
            atomic_write.check_writable(path)
            if os.path.realpath(path) in written:
                raise _named_twice(path)
            written[os.path.realpath(path)] = path

    @contextlib.contextmanager
    def working(self) -> Iterator[StageLine]:
        """While the user's code runs: a line says what is being done."""
        from gradscope.cli.progress import StageLine

        line = StageLine(self.progress and not self.quiet)
        with surroundings.kept(), line as progress, surroundings.forks_ended():
            yield progress

    @contextlib.contextmanager
    def judging(self, target: str, policy: Policy, path: str = "") -> Iterator[StageLine]:
        """`working` on one target. Where it fails every file and every program that reads is told: an older
        report would be believed. People are told by the error itself."""
        try:
            with self.working() as progress:
                yield progress
        except Exception as error:
            outcome = Outcome(target, error=TargetError.of(error), policy=policy, path=path)
            self.publish(Suite((outcome,), alone=True))
            raise

    def deliver(self, suite: Suite) -> ExitCode:
        """Show and save the run, and return the exit code."""
        suite = suite if self.timing else _without_timing(suite)
        self.publish(suite)
        code = policy.exit_code(suite)
        if code == ExitCode.FINDINGS and suite.verdict != "sick" and not self.quiet:
            named = dict.fromkeys(name for o in suite.outcomes if o.failures for name in o.policy.fail_on)
            screen.tell(f"exit code {code}: there are findings that --fail-on {','.join(named)} names")
        return code

    def publish(self, suite: Suite) -> None:
        """Write the run to everything that was asked for."""
        if self.save is not None:
            suite_json.save(suite, self.save)
        for name, path in self.exports:
            atomic_write.write_whole(path, exported(suite, name))
        for name, path in self.more:
            self._write(partial(reporter(name).render, suite), path)
        told_by_error = suite.alone and suite.only is None
        if not (told_by_error and self.format == "terminal" and self.output == SCREEN):
            self._write(partial(reporter(self.format).render, suite), self.output)
        if "github" in (self.format, *(name for name, _ in self.more)):
            step_summary.append(suite, View(quiet=self.quiet))

    def show(self, render: Callable[[TextIO, View], None]) -> None:
        """Write what `render` writes to where it is wanted."""
        self._write(render, self.output)

    def _write(self, render: Callable[[TextIO, View], None], path: str) -> None:
        to_file = path != SCREEN
        # Rendered in memory, with the encoding that it will meet: a file is written whole or not at all.
        encoding = "utf-8" if to_file else sys.stdout.encoding or "utf-8"
        page = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="\n")
        color = screen.colored(None if to_file else sys.stdout, self.color)
        render(page, View(screen.width(to_file), color, self.show_all, self.quiet, self.verbose))
        page.seek(0)
        if to_file:
            atomic_write.write_whole(path, page.read())
        else:
            screen.emit(page.read())


def rendering_options(
    format: Format = "terminal",
    output: Output = SCREEN,
    report: MoreReports = None,
    show_all: ShowAll = False,
    verbose: Verbose = False,
    color: ColorMode = Color.AUTO,
    quiet: Quiet = False,
) -> Delivery:
    """What the options say of a run that is at hand; for `groups.with_options`."""
    more = [format_and_file(entry, "--report", "html=report.html") for entry in report or ()]
    return Delivery(
        format=format,
        output=output,
        more=tuple(more),
        show_all=show_all,
        verbose=verbose,
        color=color,
        quiet=quiet,
    )


def delivery_options(
    format: Format = "terminal",
    output: Output = SCREEN,
    report: MoreReports = None,
    save: Save = None,
    show_all: ShowAll = False,
    verbose: Verbose = False,
    color: ColorMode = Color.AUTO,
    no_progress: NoProgress = False,
    no_timing: NoTiming = False,
    quiet: Quiet = False,
) -> Delivery:
    """What the options say of a run that is about to be made; for `groups.with_options`."""
    shown = rendering_options(format, output, report, show_all, verbose, color, quiet)
    return replace(shown, save=save, progress=not no_progress, timing=not no_timing)


def format_and_file(entry: str, option: str, example: str) -> tuple[str, str]:
    name, equals, path = entry.partition("=")
    if not (equals and path):
        raise GradscopeError(
            f'"{option} {entry}" does not name a format and a file.',
            fix=f"Write FORMAT=FILE, as in {option} {example}.",
            slug="bad-option",
        )
    return name.strip(), path


def _without_timing(suite: Suite) -> Suite:
    def bare(report: Report | None) -> Report | None:
        if report is None:
            return None
        memory = None if report.memory is None else report.memory.without_times()
        cost = None if report.cost is None else report.cost.without_times()
        return replace(report, timing=Timing(), memory=memory, cost=cost)

    outcomes: tuple[Outcome, ...] = tuple(replace(o, report=bare(o.report)) for o in suite.outcomes)
    return replace(suite, outcomes=outcomes)


def _refuse_input(path: str, source: str) -> None:
    if os.path.exists(source) and os.path.realpath(path) == os.path.realpath(source):
        raise GradscopeError(
            f'"{path}" would overwrite an input of this command.',
            fix="Choose another file.",
            slug="unwritable-output",
        )


def _named_twice(path: str) -> GradscopeError:
    return GradscopeError(
        f'"{path}" is given for two outputs.',
        why="--output, --report, --export and --save would overwrite each other.",
        fix="Give each output its own file.",
        slug="unwritable-output",
    )
