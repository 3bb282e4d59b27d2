"""`gradscope.fix`: check, try remedies in the same short training, rank them by what they brought.

A remedy is an edit of the user's source: the edited text is loaded in place of the file, which stays as it
is, and trained from the same seeds on the same batches. What is printed is what was run.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from gradscope.errors import GradscopeError
from gradscope.load.target import split_target
from gradscope.records import (
    Chance,
    Effect,
    Finding,
    Remedies,
    Report,
    Severity,
    Skipped,
    Timing,
    Training,
    TriedRemedy,
)
from gradscope.records.options import CheckOptions, FixOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.remedies import catalogue, verdict
from gradscope.remedies.data import Scaled
from gradscope.remedies.source_code import Remedy, SourceCode, diff, patched
from gradscope.runs.check import check

if TYPE_CHECKING:
    from gradscope.training.bench import Bench

T = TypeVar("T")
MOST_DRAWS = 16
FEWEST_DRAWS = 4
EXAMINED = 5
"""Remedies on which the passes of `check` run, too."""
MOST_FEATURES = 64
LEARNS = 0.5
"""Of the loss: where the steps take so much away, and nothing was found, there is nothing to fix."""


def fix(
    target: str,
    loading: LoadOptions | None = None,
    options: FixOptions | None = None,
    *,
    progress: Progress = silent,
) -> Report:
    """Check a target, and try remedies for what is found, or for a loss that does not fall.

    Raises `GradscopeError` where the target cannot be judged. Its file is not changed.
    """
    loading, options = loading or LoadOptions(), options or FixOptions()
    _require(options)
    begun, modules = perf_counter(), frozenset(sys.modules)
    from gradscope.trace.compiling import compiling_once

    with compiling_once():
        report = check(target, loading, CheckOptions(), progress=progress)
        started = perf_counter()
        trials = Trials(target, loading, options, report.findings, modules, begun, progress)
        found, skipped = trials.run()
    timing = report.timing.plus(Timing(run_s=perf_counter() - started))
    return replace(report, remedies=found, skipped=(*report.skipped, *skipped), timing=timing)


def _require(options: FixOptions) -> None:
    for name, value in (("--steps", options.steps), ("--seeds", options.seeds)):
        if value is not None and value < 1:
            raise GradscopeError(
                f"{name} is {value}.",
                why="At least one is needed to try anything.",
                fix="Give a number of 1 or more.",
                slug="bad-option",
            )


@dataclass
class Trials:
    target: str
    loading: LoadOptions
    options: FixOptions
    findings: Sequence[Finding]
    modules: frozenset[str]
    """That were there before any trial."""
    begun: float
    progress: Progress

    def run(self) -> tuple[Remedies | None, tuple[Skipped, ...]]:
        benches, seeds = self._benches()
        if not benches:
            return None, (Skipped("remedies", "the same steps could not be taken without them"),)
        first = benches[0]
        before = _training([bench.trained() for bench in benches])
        steps = Remedies(first.steps, seeds, first.batches, first.optimizer, before, ())
        grave = [each for each in self.findings if each.severity is not Severity.NOTE]
        if not (grave or self.options.everything) and min(before.falls) >= LEARNS:
            return steps, ()
        codes, unread = self._codes()
        remedies = catalogue.known(codes, self._loss, self.findings, self._arrays(first))
        meant, rest = catalogue.meant(remedies, self.findings)
        tried: list[TriedRemedy] = []
        left = 0
        for group in (meant, rest):
            if any(each.helps for each in tried) and not self.options.everything:
                left += len(group)
                continue
            for number, remedy in enumerate(group, 1):
                if self._spent():
                    left += len(group) - number + 1
                    break
                self.progress(f"remedy {number} of {len(group)}: {remedy.what}")
                tried.append(self._tried(remedy, before, seeds, codes))
        tried = self._examined(tried, before)
        chance = None if self._spent() or not tried else self._chance(benches, len(tried))
        judged = [_against(each, chance) for each in verdict.ranked(tried)]
        return replace(steps, tried=tuple(judged), chance=chance, untried=left), unread

    def _examined(self, tried: Sequence[TriedRemedy], before: Training) -> list[TriedRemedy]:
        """The passes of `check` run on the few that bring most: of the others it is not known what they cure,
        and one whose loss is another one is not said to help by its number alone."""
        found = list(verdict.ranked(tried))
        for place, each in enumerate(found):
            if not each.helps:
                continue
            if place < EXAMINED and not self._spent():
                self.progress(f"checking what it cures to {each.what}")
                found[place] = self._checked(each, before)
            elif each.changes_loss:
                found[place] = replace(each, effect=Effect.NO_GAIN)
        return found

    def _benches(self) -> tuple[list[Bench], tuple[int, ...]]:
        """Of the problem as it is, by seed; one where all seeds begin with the same numbers."""
        from gradscope.runs.preparing import prepare
        from gradscope.runs.seeds import begin_alike, of_target

        found: list[Bench] = []
        first = None
        self.progress("training without a remedy")
        for begun in of_target(self.target, self.loading, self.options.seeds, silent):
            prepared = prepare(begun.problem, progress=silent)
            if first is not None and begin_alike(first, prepared):
                break
            first = prepared if first is None else first
            self._loss = begun.problem.name
            found.append(_bench(prepared, self.options.steps))
        return found, tuple(self.loading.seed + place for place in range(len(found)))

    def _codes(self) -> tuple[list[SourceCode], tuple[Skipped, ...]]:
        """The file of the target, and those whose lines findings name."""
        where, _ = split_target(self.target)
        module = sys.modules.get(str(where))
        own = str(where) if module is None else str(getattr(module, "__file__", where))
        paths = [os.path.relpath(own)]
        paths += [each.source.file for each in self.findings if each.source is not None]
        found: dict[str, SourceCode] = {}
        unread = []
        for path in dict.fromkeys(paths):
            if any(
                os.path.exists(known) and os.path.exists(path) and os.path.samefile(path, known)
                for known in found
            ):
                continue
            try:
                found[path] = SourceCode.read(path)
            except (OSError, SyntaxError, UnicodeDecodeError) as error:
                unread.append(Skipped(f"edits of {path}", f"it cannot be read ({type(error).__name__})"))
        return list(found.values()), tuple(unread)

    def _arrays(self, bench: Bench) -> list[Scaled]:
        import numpy as np

        found = []
        for odd in bench.odd_arrays():
            mean, std = np.ravel(odd.mean), np.ravel(odd.std)
            if mean.size <= MOST_FEATURES:
                found.append(Scaled(odd.name, odd.is_input, tuple(map(float, mean)), tuple(map(float, std))))
        return found

    def _tried(
        self, remedy: Remedy, before: Training, seeds: tuple[int, ...], codes: Sequence[SourceCode]
    ) -> TriedRemedy:
        code = next(each for each in codes if each.path == remedy.path)
        texts = {remedy.path: remedy.text}
        shown = diff(remedy.path, code.text, remedy.text)
        found = TriedRemedy(remedy.what, Effect.FAILED, None, remedy.rules, remedy.changes_loss, diff=shown)
        try:
            after = _training(self._edited(texts, lambda: self._ends(len(seeds))))
        except Exception as error:  # an edit may be wrong in any way that code can be
            return replace(found, reason=_reason(error))
        effect = verdict.effect(before, after, remedy.changes_loss, cured=True)
        return replace(found, training=after, effect=effect)

    def _checked(self, found: TriedRemedy, before: Training) -> TriedRemedy:
        """The passes of `check` on the edited file: which findings are gone, which errors are new."""
        assert found.training is not None
        path, text = edited_by(found)
        texts = {path: text}
        try:
            report = self._edited(texts, lambda: check(self.target, self.loading, CheckOptions()))
        except Exception as error:
            return replace(found, reason=_reason(error))
        cured, caused = verdict.gone(self.findings, report.findings)
        effect = verdict.effect(before, found.training, found.changes_loss, bool(cured))
        return replace(found, effect=effect, cured=cured, caused=caused, checked=True)

    def _ends(self, count: int) -> list[tuple[float, float]]:
        from gradscope.runs.preparing import prepare
        from gradscope.runs.seeds import of_target

        return [
            _bench(prepare(begun.problem, progress=silent), self.options.steps).trained()
            for begun in of_target(self.target, self.loading, count, silent)
        ]

    def _edited(self, texts: Mapping[str, str], run: Callable[[], T]) -> T:
        """What `run` makes of the target with these texts; what the file prints was shown once already."""
        from gradscope.load.usercode.edited import edited
        from gradscope.load.usercode.user_file import forget_imported

        forget_imported(self.modules)
        try:
            with edited(texts), contextlib.redirect_stderr(io.StringIO()):
                return run()
        finally:
            forget_imported(self.modules)

    def _chance(self, benches: Sequence[Bench], tried: int) -> Chance:
        from gradscope.training.bench import drawn
        from gradscope.training.trainer import Modification

        count = min(MOST_DRAWS, max(FEWEST_DRAWS, tried))
        draws = drawn(self.loading.seed, count)
        ends = []
        for number, (factor, scale) in enumerate(draws, 1):
            self.progress(f"random search, {number} of {count}")
            ends.append(benches[0].trained(Modification(factor=factor), scale))
        best = min(range(count), key=lambda i: ends[i][1] if ends[i][1] == ends[i][1] else float("inf"))
        factor, scale = draws[best]
        rest = [bench.trained(Modification(factor=factor), scale) for bench in benches[1:]]
        what = f"learning rate times {factor:.2g}, weights times {scale:.2g}"
        return Chance(count, what, _training([ends[best], *rest]))

    def _spent(self) -> bool:
        budget = self.options.budget_s
        return budget is not None and perf_counter() - self.begun > budget


def _bench(prepared, steps: int | None) -> Bench:  # type: ignore[no-untyped-def]
    from gradscope.training.bench import Bench

    return Bench(
        prepared.problem,
        prepared.tracer,
        prepared.program,
        prepared.flow,
        prepared.inputs[0],
        (prepared.batches, prepared.rest),
        steps,
    )


def _training(ends: Sequence[tuple[float, float]]) -> Training:
    return Training(tuple(start for start, _ in ends), tuple(end for _, end in ends))


def _reason(error: Exception) -> str:
    return (
        error.what if isinstance(error, GradscopeError) else f"{type(error).__name__}: {error}"
    ).partition("\n")[0]


def _against(found: TriedRemedy, chance: Chance | None) -> TriedRemedy:
    if chance is None or found.training is None or found.changes_loss or not found.helps:
        return found
    return replace(found, beats_chance=verdict.beats(found.training, chance.training))


def edited_file(found: Remedies) -> tuple[str, str]:
    """The file of the best remedy and its text after the edit. Raises `GradscopeError` where it has changed
    since the edit was tried, or where there is no edit."""
    best = found.best
    if best is None:
        raise GradscopeError(
            "There is no edit to apply.",
            why="No remedy helped.",
            slug="no-edit",
        )
    return edited_by(best)


def edited_by(tried: TriedRemedy) -> tuple[str, str]:
    """The file of a remedy and its text after the edit."""
    path = tried.diff.splitlines()[0].removeprefix("--- a/").partition("\t")[0]
    try:
        return path, patched(SourceCode.read(path).text, tried.diff)
    except (ValueError, OSError) as error:
        raise GradscopeError(
            f'"{path}" is not written.',
            why="It has changed since the edit was tried.",
            fix="Run `gradscope fix` again.",
            slug="no-edit",
        ) from error
