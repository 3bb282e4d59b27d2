"""One seed of a check, once it is prepared: measured, looked at closer where that was asked for, judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from gradscope.errors import GradscopeError
from gradscope.gate.seed_votes import SeedRun
from gradscope.load.usercode.fault import Looks
from gradscope.measure.cleared import without_input
from gradscope.measure.dealt_replicas import NoReplicas
from gradscope.measure.gradient_ends import without_gradient
from gradscope.measure.histograms import histograms
from gradscope.measure.inputs import input_arrays, input_gradients
from gradscope.measure.precision import precision
from gradscope.measure.replica_gradients import replica_gradients
from gradscope.measure.through_time import ThroughTime, through_time
from gradscope.records import (
    Finding,
    HandMadeGradient,
    Measurement,
    Reference,
    ReplicaGradients,
    Skipped,
    Surrogate,
    Timing,
    Verdict,
    Verification,
)
from gradscope.records.options import CheckOptions
from gradscope.records.progress import Progress
from gradscope.rules import Parts, judge, judging, left_out
from gradscope.runs.measuring import Measured, measure
from gradscope.runs.preparing import Prepared
from gradscope.runs.silent_layers import with_ends
from gradscope.trace.fed_by import fed_by
from gradscope.trace.program import Program
from gradscope.training.hand_made import hand_made_gradient
from gradscope.training.short import Trained

if TYPE_CHECKING:
    from gradscope.verification.rules import CheckedRule
    from gradscope.verification.verify import Verified

CLEARLY = 0.05
"""Relative error from which a custom rule is an error of every check: one that keeps its residuals in 8 bits
is off by a hundredth on purpose."""
WAIT_FOR_STEPS = ("vanishing-gradient", "exploding-gradient")
"""Rules that cannot judge what is exactly zero before the first step."""
CREDIT, REPLICAS = "credit through time", "gradients of replicas"
NOTHING = ThroughTime((), None, (), Timing())


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
        options = self.options
        found = measure(prepared, options.steps, progress, overfit_batch=first and options.overfit_batch)
        timing = timing.plus(Timing(run_s=found.run_s, train_s=found.train_s))
        measurement = found.measurement
        verified = self._verified(prepared, progress) if first and options.verified else None
        checked, unchecked = None if verified is None else verified.record, list[Skipped]()
        if first and verified is None and measurement.custom_rules:
            measurement, checked, unchecked = _wrong_rules(prepared, measurement, found.trained, progress)
        if without_gradient(measurement.layers) or without_input(measurement):
            measurement, unfound = with_ends(prepared, measurement, progress)
            unchecked = [*unchecked, *unfound]
        if first and options.histograms:
            counted, spent = histograms(
                prepared.program, prepared.flow, prepared.inputs[0], progress=progress
            )
            measurement, timing = replace(measurement, histograms=counted), timing.plus(spent)
        unfollowed: tuple[Skipped, ...] = ()
        if first and (options.through_time or options.truncate is not None):
            followed = self._followed(prepared, progress)
            measurement = replace(measurement, time_credit=followed.credit, truncation=followed.truncation)
            timing, unfollowed = timing.plus(followed.timing), followed.skipped
        if first and options.inputs:
            measurement, uninspected = self._with_inputs(prepared, measurement, progress)
            unfollowed = (*unfollowed, *uninspected)
        if first and options.what_if is not None:
            measurement, unrounded = self._in_precision(prepared, measurement, progress)
            unfollowed = (*unfollowed, *unrounded)
        if first and options.replicas:
            measurement, unsplit = self._with_replicas(prepared, measurement, progress)
            unfollowed = (*unfollowed, *unsplit)
        parts = Parts(
            measurement,
            checked,
            training=found.training,
            reference=self.reference,
        )
        findings, skipped = judge(
            parts,
            select=options.select,
            ignore=options.ignore,
            limits=options.limits,
            known=self.known,
        )
        later, skipped = self._judged_later(found, skipped, progress)
        findings = tuple(sorted((*findings, *later), key=lambda finding: finding.severity.rank))
        return SeedRun(
            seed=prepared.problem.seed,
            measurement=measurement,
            training=found.training,
            findings=findings,
            skipped=(*found.skipped, *unchecked, *unfollowed, *skipped),
            notes=prepared.notes if verified is None else (*prepared.notes, *verified.notes),
            gradients=None if verified is None else verified.record,
            rules=judging(parts, options.select, options.ignore, skipped),
            left_out=left_out(parts, options.select, options.ignore),
            timing=timing if verified is None else timing.plus(verified.timing),
        )

    def _judged_later(
        self, found: Measured, skipped: tuple[Skipped, ...], progress: Progress
    ) -> tuple[list[Finding], tuple[Skipped, ...]]:
        """What rules could not judge before the first step, at the end of the short training."""
        waiting = [entry for entry in skipped if entry.what in WAIT_FOR_STEPS]
        if not waiting or found.later is None or found.training is None:
            return [], skipped
        progress("measuring after the steps")
        judged, still = judge(
            Parts(found.later()),
            select=tuple(entry.what for entry in waiting),
            limits=self.options.limits,
        )
        when = f"After {found.training.steps} steps of {found.training.optimizer}: "
        left = {entry.what for entry in still}
        return (
            [replace(finding, message=when + finding.message) for finding in judged],
            tuple(entry for entry in skipped if entry not in waiting or entry.what in left),
        )

    def _followed(self, prepared: Prepared, progress: Progress) -> ThroughTime:
        """The gradient step by step; where that fails, the report is whole without it."""
        options, looks = self.options, Looks()

        def look() -> ThroughTime:
            try:
                return through_time(
                    prepared.program,
                    prepared.flow,
                    prepared.inputs[0],
                    credit=options.through_time,
                    truncate=options.truncate,
                    progress=progress,
                )
            except GradscopeError as error:  # it does not fit into memory
                return replace(NOTHING, skipped=(Skipped(CREDIT, error.what),))

        found = looks.taken(CREDIT, look, NOTHING)
        return replace(found, skipped=(*found.skipped, *looks.failed))

    def _with_inputs(
        self, prepared: Prepared, measurement: Measurement, progress: Progress
    ) -> tuple[Measurement, tuple[Skipped, ...]]:
        """The gradient with respect to the inputs; where that fails, the report is whole without it."""
        program, looks = prepared.program, Looks()
        progress("differentiating by the inputs")

        def look() -> Measurement:
            arrays = input_arrays(program, prepared.batches[0], prepared.inputs[0])
            found, step = input_gradients(program, arrays, prepared.inputs)
            return replace(measurement, input_gradients=found, adversarial=step)

        found = looks.taken("gradient with respect to the inputs", look, measurement)
        if not found.input_gradients and not looks.failed:
            return found, (Skipped("inputs", "no array of floats goes into the network"),)
        return found, tuple(looks.failed)

    def _with_replicas(
        self, prepared: Prepared, measurement: Measurement, progress: Progress
    ) -> tuple[Measurement, tuple[Skipped, ...]]:
        """The gradient of each replica; where that fails, the report is whole without it."""
        looks = Looks()
        progress("differentiating replica by replica")

        def look() -> ReplicaGradients | None:
            try:
                return replica_gradients(prepared.program, prepared.flow, prepared.inputs, prepared.batches)
            except NoReplicas as reason:
                looks.failed.append(Skipped(REPLICAS, str(reason)))
                return None

        found = looks.taken(REPLICAS, look, None)
        return replace(measurement, replicas=found), tuple(looks.failed)

    def _in_precision(
        self, prepared: Prepared, measurement: Measurement, progress: Progress
    ) -> tuple[Measurement, tuple[Skipped, ...]]:
        """The program rounded to another precision; where that fails, the report is whole without it."""
        name, looks = self.options.what_if, Looks()
        assert name is not None
        progress(f"rounding to {name}")
        found = looks.taken(
            f"what if {name}", lambda: precision(prepared.program, prepared.inputs[0], name), None
        )
        return replace(measurement, precision=found), tuple(looks.failed)

    def _verified(self, prepared: Prepared, progress: Progress) -> Verified:
        """On the batch and the program at hand."""
        from gradscope.verification.verify import Traced, verify

        return verify(
            prepared.problem, traced=Traced(prepared.batches[0], prepared.program), progress=progress
        )


def _wrong_rules(
    prepared: Prepared, measurement: Measurement, trained: Trained | None, progress: Progress
) -> tuple[Measurement, Verification | None, list[Skipped]]:
    """The custom rules of the user that are wrong at what they get from the first batch, `None` where none
    is; in the measurement stay those that are not found right, and what those do that differ by an array of
    their own. One of these that does not train is wrong, too. What cannot be judged is left to `verify`."""
    from gradscope.verification.rules import check_rules

    program, inputs, looks = prepared.program, prepared.inputs[0], Looks()
    seed = prepared.problem.seed
    found = looks.listed("custom rules", lambda: check_rules(program, inputs, seed=seed, progress=progress))
    if not looks.failed:
        unsure = {each.key for each in found if each.check.verdict is not Verdict.RIGHT}
        measurement = replace(
            measurement,
            custom_rules=len(unsure),
            surrogates=tuple(surrogate for each in found for surrogate in _surrogates(program, each)),
        )
    own = [each for each in found if each.check.reads_its_own]
    if own and trained is not None:
        made = looks.taken("a gradient made by hand", lambda: _hand_made(prepared, trained, own), None)
        measurement = replace(measurement, hand_made=made)
        if made is not None and not made.end < made.start:
            found = [_called_wrong(each) for each in found]
    wrong = tuple(
        each.check
        for each in found
        if each.check.verdict is Verdict.WRONG and not each.check.relative_error < CLEARLY
    )
    verification = Verification(measurement.loss, (), custom_rules=wrong) if wrong else None
    return measurement, verification, looks.failed


def _surrogates(program: Program, rule: CheckedRule) -> Iterator[Surrogate]:
    """One for the calls that the same layers go into: those of one time step after another."""
    check, windows = rule.check, dict[tuple[str, ...], list[float]]()
    for path, window in rule.windows:
        windows.setdefault(fed_by(program, path), []).append(window)
    for layers, seen in windows.items():
        yield Surrogate(check.function, check.source, layers, fmean(seen), check.uses)


def _hand_made(prepared: Prepared, trained: Trained, own: Sequence[CheckedRule]) -> HandMadeGradient | None:
    record, first = trained.record, own[0].check
    return hand_made_gradient(
        prepared.program,
        trained.trainer,
        trained.weights,
        {each.key for each in own},
        (first.function, first.source),
        record.steps,
        record.batches,
    )


def _called_wrong(rule: CheckedRule) -> CheckedRule:
    if not rule.check.reads_its_own:
        return rule
    reason = f"{rule.check.reason}, and the steps of the short training do not lower the loss with it"
    return replace(rule, check=replace(rule.check, verdict=Verdict.WRONG, reason=reason))
