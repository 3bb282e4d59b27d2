"""Verifies gradients: every leaf, single elements, custom rules, and forward against reverse mode."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.load.usercode.user_code import user_code
from gradscope.records import (
    Connection,
    ElementCheck,
    GradientCheck,
    RuleCheck,
    Timing,
    Transposition,
    Verdict,
    Verification,
)
from gradscope.records.progress import Progress
from gradscope.trace.program import Program, Tracer
from gradscope.verification.adjoint import transposition
from gradscope.verification.gradient import leaf_messages
from gradscope.verification.gradient.direction_tests import Agreement
from gradscope.verification.gradient.explanations import Explanations
from gradscope.verification.gradient.leaf_judge import LeafJudge, LeafJudgement
from gradscope.verification.gradient.point import Point
from gradscope.verification.gradient.surface import Surface
from gradscope.verification.precision import lowest_precision, narrow_dtypes, spacing, widened
from gradscope.verification.rules import CheckedRule, check_rules
from gradscope.verification.widened_notes import own_loss, widened_notes

DIRECTIONS = 2
"""Default number of directions in each leaf."""


@dataclass(frozen=True)
class Traced:
    """A batch that was drawn already, and the loss as it was traced at it, in the model's own precision."""

    batch: Any
    program: Program


@dataclass(frozen=True)
class Verified:
    """What `verify` found."""

    loss: float
    gradients: tuple[GradientCheck, ...]
    """In forward order."""
    elements: tuple[ElementCheck, ...]
    custom_rules: tuple[RuleCheck, ...]
    transposition: Transposition
    notes: tuple[str, ...]
    timing: Timing

    @property
    def record(self) -> Verification:
        return Verification(self.loss, self.gradients, self.elements, self.custom_rules, self.transposition)


def verify(
    problem: Problem,
    *,
    traced: Traced | None = None,
    directions: int = DIRECTIONS,
    per_element: int = 0,
    progress: Progress,
) -> Verified:
    """Verify on the first batch: in float64 where the loss can be traced so, else in its own precision.

    With `traced` no batch is drawn. Float64 makes another program of the loss, which is traced here.
    """
    batch = _first(problem) if traced is None else traced.batch
    narrow = narrow_dtypes((problem.params, batch))
    run = partial(_verified, problem, batch, directions=directions, per_element=per_element)
    progress("tracing in float64")
    try:
        with jax.enable_x64(True), warnings.catch_warnings():
            # A model may mix its own float32 with the float64 that only this command gives it.
            warnings.simplefilter("ignore")
            found = run(widened, None, progress)
    except GradscopeError as error:
        why = error.what
    else:
        inside = {check.dtype for check in found.gradients}
        program = None if traced is None else traced.program
        notes = widened_notes(narrow, inside, found.loss, lambda: own_loss(problem, batch, program))
        return replace(found, notes=(*found.notes, *notes))
    progress("tracing")
    found = run(lambda tree: tree, None if traced is None else traced.program, progress)
    note = f"Verified in the model's own precision, since in float64 it cannot run: {why}"
    return replace(found, notes=(*found.notes, note))


def _first(problem: Problem) -> Any:
    with user_code("drawing batches"):
        return next(itertools.islice(problem.batches(), 1))


def _verified(
    problem: Problem,
    batch: Any,
    prepare: Callable[[Any], Any],
    program: Program | None,
    progress: Progress,
    *,
    directions: int,
    per_element: int,
) -> Verified:
    """`program` is that of the batch as `prepare` makes it, where it was traced already."""
    start = time.perf_counter()
    tracer = Tracer(problem, prepare)
    program = program or tracer.trace(batch)
    traced = time.perf_counter()
    progress("compiling")
    inputs = tracer.inputs(batch)
    surface = Surface(program, inputs)
    running = time.perf_counter()
    rules = check_rules(program, inputs, seed=problem.seed, progress=progress)
    run = _LeafVerifier(program, surface, rules, problem.seed, directions)
    gradients = tuple(run.leaves(progress))
    elements = tuple(run.elements(gradients, per_element))
    progress("comparing forward with reverse mode")
    mode = transposition(surface, run.point)
    return Verified(
        loss=run.point.loss,
        gradients=gradients,
        elements=elements,
        custom_rules=tuple(rule.check for rule in rules),
        transposition=mode,
        notes=(),
        timing=Timing(
            trace_s=traced - start + surface.trace_s,
            compile_s=surface.compile_s,
            run_s=time.perf_counter() - running,
        ),
    )


class _LeafVerifier:
    """All leaves of one program at one point."""

    def __init__(
        self,
        program: Program,
        surface: Surface,
        rules: Sequence[CheckedRule],
        seed: int,
        directions: int,
    ) -> None:
        dtype = lowest_precision(program)
        self._program, self._surface = program, surface
        self._dtype = str(dtype)
        self._explanations = Explanations(program, surface, rules, self._dtype)
        self.point = Point(surface, surface.weights, spacing(dtype), seed)
        self._judge: LeafJudge | None = None
        self._directions = directions
        self._owner = {
            leaf: (group.name, source)
            for group, source in zip(program.layers, program.sources, strict=True)
            for leaf in group.leaves
        }

    def leaves(self, progress: Progress) -> Iterator[GradientCheck]:
        order = [leaf for group in self._program.layers for leaf in group.leaves]
        for number, leaf in enumerate(order, 1):
            progress(f"comparing with finite differences: leaf {number} of {len(order)}")
            yield self._leaf(leaf)

    def elements(self, checks: tuple[GradientCheck, ...], count: int) -> Iterator[ElementCheck]:
        """`count` random elements of every leaf that has a gradient to check."""
        names = {leaf.name: number for number, leaf in enumerate(self._program.leaves)}
        for check in checks:
            leaf = names[check.parameter]
            about = self._program.leaves[leaf]
            if not count or not check.directions:
                continue
            rng = np.random.default_rng((self.point.seed, leaf, 11))
            chosen = np.sort(rng.choice(about.size, min(count, about.size), replace=False))
            for index in chosen:
                yield self._element(leaf, int(index), check)

    @property
    def judge(self) -> LeafJudge:
        if self._judge is None:
            sizes = [
                float(np.linalg.norm(self.point.gradient(leaf))) * self.point.scale(leaf)
                for leaf in range(len(self._program.leaves))
            ]
            largest = max((size for size in sizes if np.isfinite(size)), default=0.0)
            self._judge = LeafJudge(
                self._surface, self.point, largest or abs(self.point.loss), self._directions
            )
        return self._judge

    def _leaf(self, leaf: int) -> GradientCheck:
        connection = self._program.connections[leaf]
        if not self._program.leaves[leaf].size:
            return self._without_differences(leaf, Verdict.RIGHT, "empty", "it has no elements")
        if connection in (Connection.DISCONNECTED, Connection.DERIVATIVE, Connection.STATE):
            return self._without_differences(
                leaf, Verdict.RIGHT, "no-path", "it does not reach the loss: zero on both sides"
            )
        if not np.isfinite(self.point.loss):
            return self._without_differences(
                leaf, Verdict.CANNOT_JUDGE, "non-finite", "the loss is not finite"
            )
        if not np.isfinite(self.point.gradient(leaf)).all():
            return self._without_differences(
                leaf, Verdict.CANNOT_JUDGE, "non-finite", "its gradient is not finite"
            )
        found = self.judge.leaf(leaf)
        cause, reason = leaf_messages.cause_and_reason(found, leaf, self.point, self._dtype)
        check = self._measured(leaf, found, cause, reason)
        if found.verdict is Verdict.RIGHT:
            return self._beyond_its_cuts(check, leaf) if connection is Connection.BLOCKED else check
        return self._explanations.explain(check, leaf, self.judge)

    def _beyond_its_cuts(self, check: GradientCheck, leaf: int) -> GradientCheck:
        """Zero on both sides may be the flat part of a stair."""
        moved = self.judge.first_move(leaf)
        if moved is None:
            return check
        cuts = self._program.cuts[leaf]
        cause, reason = leaf_messages.of_stairs(cuts[0] if cuts else None, *moved)
        return replace(check, verdict=Verdict.CANNOT_JUDGE, cause=cause, reason=reason)

    def _measured(self, leaf: int, found: LeafJudgement, cause: str, reason: str) -> GradientCheck:
        worst = found.worst
        return GradientCheck(
            parameter=self._program.leaves[leaf].name,
            layer=self._owner[leaf][0],
            verdict=found.verdict,
            cause=cause,
            reason=reason,
            directions=len(found.tests),
            analytic=worst.backprop.value,
            numeric=worst.numeric.value,
            error=worst.error,
            uncertainty=worst.uncertainty,
            step=worst.numeric.step,
            dtype=self._dtype,
            ratio=leaf_messages.ratio(found),
            source=self._owner[leaf][1],
        )

    def _without_differences(self, leaf: int, verdict: Verdict, cause: str, reason: str) -> GradientCheck:
        """The check of a leaf that needs no finite differences, or has none."""
        zero = 0.0 if verdict is Verdict.RIGHT else float("nan")
        layer, source = self._owner[leaf]
        name = self._program.leaves[leaf].name
        return GradientCheck(
            parameter=name,
            layer=layer,
            verdict=verdict,
            cause=cause,
            reason=reason,
            directions=0,
            analytic=zero,
            numeric=zero,
            error=zero,
            uncertainty=zero,
            step=zero,
            dtype=self._dtype,
            source=source,
        )

    def _element(self, leaf: int, index: int, check: GradientCheck) -> ElementCheck:
        test = self.judge.element(leaf, index)
        verdicts = {
            Agreement.AGREES: Verdict.RIGHT,
            # The cause of a leaf that cannot be judged is that of its elements too.
            Agreement.DIFFERS: Verdict.WRONG if check.verdict is not Verdict.CANNOT_JUDGE else check.verdict,
            Agreement.UNCLEAR: Verdict.CANNOT_JUDGE,
        }
        where = np.unravel_index(index, self._program.leaves[leaf].shape)
        return ElementCheck(
            parameter=check.parameter,
            index=tuple(int(i) for i in where),
            verdict=verdicts[test.agreement],
            analytic=test.backprop.value,
            numeric=test.numeric.value,
            uncertainty=test.uncertainty,
        )
