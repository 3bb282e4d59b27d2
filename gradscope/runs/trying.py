"""One remedy at a time: its edited text loaded, trained from every seed, and checked."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from gradscope.errors import GradscopeError
from gradscope.records import Chance, Effect, Finding, Remedies, SeedEnds, TriedRemedy
from gradscope.records.options import CheckOptions, FixOptions, LoadOptions
from gradscope.records.progress import Progress, silent
from gradscope.remedies import verdict
from gradscope.remedies.data import Scaled
from gradscope.remedies.source_code import Remedy, diff
from gradscope.runs.check import check

if TYPE_CHECKING:
    from gradscope.runs.preparing import Prepared
    from gradscope.training.bench import Bench

T = TypeVar("T")
MOST_DRAWS, FEWEST_DRAWS = 16, 4


@dataclass(frozen=True)
class AsItIs:
    """The problem without a remedy, by seed."""

    record: Remedies
    """Nothing tried yet."""
    loss: str
    """The name of the loss function."""
    arrays: Sequence[Scaled]
    """Of the batch, whose numbers are far from 0 and 1."""
    benches: Sequence[Bench]
    digests: Sequence[str] | None
    """Of the batches; `None` where the file makes other ones each time that it is loaded."""

    def by_chance(self, tried: int, progress: Progress) -> Chance:
        """Random search with as many draws as remedies were tried, within limits: what is best from the first
        seed is trained from the others, too."""
        from gradscope.training.bench import drawn

        first, *others = self.benches
        count = min(MOST_DRAWS, max(FEWEST_DRAWS, tried))
        draws = drawn(self.record.seeds[0], count)
        ends = []
        for number, draw in enumerate(draws, 1):
            progress(f"random search, {number} of {count}")
            ends.append(first.trained(*draw))
        best = min(range(count), key=lambda place: _finite(ends[place][1]))
        factor, scale = draws[best]
        found = [ends[best], *(bench.trained(factor, scale) for bench in others)]
        return Chance(count, f"learning rate times {factor:.2g}, weights times {scale:.2g}", _by_seed(found))


@dataclass(frozen=True)
class Trying:
    """What is the same for all remedies of a target."""

    target: str
    loading: LoadOptions
    options: FixOptions
    findings: Sequence[Finding]
    modules: frozenset[str]
    """That were imported before the target."""
    begun: float
    progress: Progress

    @property
    def spent(self) -> bool:
        """Whether the budget is."""
        budget = self.options.budget_s
        return budget is not None and perf_counter() - self.begun > budget

    def as_it_is(self) -> AsItIs:
        """With one seed where all begin with the same numbers. Raises `GradscopeError` as `check` does."""
        from gradscope.load.usercode.user_file import forget_imported
        from gradscope.runs.stepping import trainable

        forget_imported(self.modules)
        with trainable():
            return self._as_it_is()

    def _as_it_is(self) -> AsItIs:
        from gradscope.runs.seeds import begin_alike
        from gradscope.training.bench import Bench

        benches: list[Bench] = []
        first = None
        for prepared in self._prepared(self.options.seeds):
            if first is not None and begin_alike(first, prepared):
                break
            first = prepared if first is None else first
            benches.append(Bench(*prepared.for_training, self.options.steps))
        assert first is not None
        seeds = tuple(self.loading.seed + place for place in range(len(benches)))
        bench, before = benches[0], _by_seed([each.trained() for each in benches])
        record = Remedies(bench.steps, seeds, bench.batches, bench.optimizer, before, ())
        arrays = [Scaled(*each) for each in bench.odd_arrays()]
        digests = [each.trainer.feed.digest for each in benches]
        again = self._again(lambda: next(self._benches(1)).trainer.feed.digest)
        return AsItIs(record, first.problem.name, arrays, benches, digests if again == digests[0] else None)

    def trained(self, remedy: Remedy, text: str, plain: AsItIs) -> TriedRemedy:
        """`text` is that of the file as it is."""
        before = plain.record.before
        found = TriedRemedy(
            remedy.what,
            Effect.FAILED,
            None,
            remedy.rules,
            remedy.changes_loss,
            diff=diff(remedy.path, text, remedy.text),
        )
        try:
            digests = None if remedy.changes_data else plain.digests
            ends = self._edited((remedy.path, remedy.text), lambda: self._ends(len(before.ends), digests))
        except Exception as error:  # an edit may be wrong in any way that code can be
            return replace(found, reason=_reason(error))
        after = _by_seed(ends)
        effect = verdict.effect(before, after, remedy.changes_loss, cured=True)
        return replace(found, training=after, effect=effect)

    def checked(self, found: TriedRemedy, edited: tuple[str, str], before: SeedEnds) -> TriedRemedy:
        """The passes of `check` on the edited file: which findings are gone, which errors are new."""
        assert found.training is not None
        try:
            report = self._edited(edited, lambda: check(self.target, self.loading, CheckOptions()))
        except Exception as error:
            return replace(verdict.unexamined(found), reason=_reason(error))
        cured, caused, remaining = verdict.gone(self.findings, report.findings)
        better = bool(cured) and not caused
        effect = verdict.effect(before, found.training, found.changes_loss, better)
        if effect is Effect.NO_GAIN and cured and not caused and verdict.is_free(before, found):
            effect = Effect.CURES
        ratio = verdict.delta_ratio(report.flow)
        told = replace(found, effect=effect, cured=cured, caused=caused, remaining=remaining)
        return replace(told, delta_ratio=ratio, checked=True)

    def longer(self, edited: tuple[str, str], times: int) -> float | None:
        """The end of so many times the steps of a trial, from the first seed; `None` where they could not be
        taken."""
        try:
            return self._edited(edited, lambda: next(self._benches(1)).trained(times=times)[1])
        except Exception:  # an edit may be wrong in any way that code can be
            return None

    def _ends(self, count: int, digests: Sequence[str] | None) -> list[tuple[float, float]]:
        """Raises `GradscopeError` where the batches are not those of the `digests`: the loss of other data
        says nothing of a remedy."""
        ends = []
        for place, bench in enumerate(self._benches(count)):
            if digests is not None and bench.trainer.feed.digest != digests[place]:
                raise GradscopeError("it changes the batches, too", why="", slug="no-edit")
            ends.append(bench.trained())
        return ends

    def _benches(self, count: int) -> Iterator[Bench]:
        from gradscope.training.bench import Bench

        for prepared in self._prepared(count):
            yield Bench(*prepared.for_training, self.options.steps)

    def _prepared(self, count: int) -> Iterator[Prepared]:
        """The target from each seed, one after another."""
        from gradscope.runs.preparing import prepare
        from gradscope.runs.seeds import of_target

        for begun in of_target(self.target, self.loading, count, silent):
            yield prepare(begun.problem, trains=True, progress=silent)

    def _edited(self, edit: tuple[str, str], run: Callable[[], T]) -> T:
        """What `run` makes of the target with another text of a file."""
        from gradscope.load.usercode.edited import edited

        with edited(dict([edit])):
            return self._again(run)

    def _again(self, run: Callable[[], T]) -> T:
        """With all modules of the user imported anew; what the file prints was shown once already."""
        from gradscope.load.usercode.user_file import forget_imported

        forget_imported(self.modules)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                return run()
        finally:
            forget_imported(self.modules)


def _by_seed(ends: Sequence[tuple[float, float]]) -> SeedEnds:
    return SeedEnds(tuple(start for start, _ in ends), tuple(end for _, end in ends))


def _finite(end: float) -> float:
    return end if math.isfinite(end) else math.inf


def _reason(error: Exception) -> str:
    said = error.what if isinstance(error, GradscopeError) else f"{type(error).__name__}: {error}"
    return said.partition("\n")[0]
