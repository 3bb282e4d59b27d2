"""One seed of a check, once it is prepared: measured, looked at closer where that was asked for, judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gradscope.gate.seed_votes import SeedRun
from gradscope.measure.histograms import histograms
from gradscope.records import Finding, Measurement, Reference, Skipped, Timing
from gradscope.records.options import CheckOptions
from gradscope.records.progress import Progress
from gradscope.rules import judge
from gradscope.runs.measuring import Prepared, measure


@dataclass(frozen=True)
class Judge:
    """What is the same for all seeds."""

    options: CheckOptions
    reference: Reference | None = None
    """How it was when the baseline was written."""
    known: Callable[[Finding], bool] | None = None
    """Whether a finding was there then, and no worse."""

    def __call__(self, prepared: Prepared, timing: Timing, progress: Progress, *, first: bool) -> SeedRun:
        """`timing` is what was spent until now; gradients are verified for the `first` seed alone."""
        found = measure(prepared, progress)
        measurement, remarks = replace(found.measurement, reference=self.reference), found.skipped
        timing = timing.plus(Timing(run_s=found.run_s))
        if first:
            measurement, more, spent = self._closer(prepared, measurement, progress)
            remarks, timing = (*remarks, *more), timing.plus(spent)
        options = self.options
        findings, skipped = judge(
            measurement,
            select=options.select,
            ignore=options.ignore,
            limits=options.limits,
            known=self.known,
        )
        return SeedRun(prepared.problem.seed, measurement, findings, (*remarks, *skipped), timing)

    def _closer(
        self, prepared: Prepared, measurement: Measurement, progress: Progress
    ) -> tuple[Measurement, tuple[Skipped, ...], Timing]:
        """The passes that run only when they are asked for, on the batch and the program at hand."""
        timing, skipped = Timing(), tuple[Skipped, ...]()
        if self.options.verified:
            from gradscope.verification.verify import Traced, verify

            traced = Traced(prepared.batches[0], prepared.program)
            found = verify(prepared.problem, traced=traced, progress=progress)
            measurement, skipped = found.added_to(measurement), found.skipped
            timing = timing.plus(found.timing)
        if self.options.histograms:
            counted, spent = histograms(prepared.program, prepared.inputs[0], progress=progress)
            measurement, timing = replace(measurement, histograms=counted), timing.plus(spent)
        return measurement, skipped, timing
