"""Why a gradient differs from finite differences: the suspected cause is taken out of the program.

`stop_gradient` and custom rules change the gradient and not the loss. A program without them has the same
differences; where its gradient agrees with them, what was taken out is the cause. Whether a rule does so on
purpose or is wrong, the check of the rule by itself has answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gradscope.errors import GradscopeError
from gradscope.records import Cut, GradientCheck, Source, Verdict
from gradscope.trace.compiling import NotEnoughMemory
from gradscope.trace.cuts import cuts_of
from gradscope.trace.domains.reach import Reads
from gradscope.trace.jaxprs import Body
from gradscope.trace.jaxprs.rewriting import without_custom_rules, without_stop_gradient
from gradscope.trace.program import Program
from gradscope.trace.vocabulary import IMPLICIT_SAMPLES
from gradscope.trace.walk import walk
from gradscope.verification.gradient import leaf_messages
from gradscope.verification.gradient.leaf_judge import FINE_SPACING, LeafJudge
from gradscope.verification.gradient.surface import Surface
from gradscope.verification.rules import CheckedRule


@dataclass(frozen=True)
class SuspectedCause:
    """A rewriting of the program, and the message where it makes the gradient agree."""

    key: str
    rewrite: Callable[[Body], Body]
    verdict: Verdict
    message: leaf_messages.CauseAndReason
    source: Source | None
    message_if_required: leaf_messages.CauseAndReason | None = None
    """The message of a wrong gradient where the program cannot be differentiated without the cause."""


class Explanations:
    """Explains the gradients of one program; each rewritten program is differentiated once."""

    def __init__(self, program: Program, surface: Surface, rules: Sequence[CheckedRule], dtype: str) -> None:
        self._program, self._surface, self._dtype = program, surface, dtype
        self._wrong = [rule for rule in rules if rule.check.verdict is Verdict.WRONG]
        self._unsure = [rule for rule in rules if rule.check.verdict is Verdict.CANNOT_JUDGE]
        self._gradients: dict[str, list[Any] | None] = {}

    def explain(self, check: GradientCheck, leaf: int, judge: LeafJudge) -> GradientCheck:
        """The check with its explanation, which may change `wrong` to `cannot judge`."""
        if self._implicit_samples >> leaf & 1:
            return _explained(check, Verdict.CANNOT_JUDGE, leaf_messages.IMPLICIT_SAMPLE, None)
        stops, others = self._cuts(leaf)
        for suspect in self._suspects(stops):
            gradient = self._gradient_without(suspect, judge)
            if gradient is None and suspect.message_if_required and check.verdict is Verdict.WRONG:
                return _explained(check, suspect.verdict, suspect.message_if_required, suspect.source)
            if gradient is not None and _explains(gradient, leaf, judge):
                if suspect.verdict is Verdict.WRONG:  # the reason of the gradient says by how much
                    message = suspect.message[0], f"{check.reason}: {suspect.message[1]}"
                    return _explained(check, check.verdict, message, suspect.source)
                return _explained(check, Verdict.CANNOT_JUDGE, suspect.message, suspect.source)
        if others and check.verdict is Verdict.WRONG and judge.here.spacing > FINE_SPACING:
            message = leaf_messages.of_hidden_jump(others[0], self._dtype)
            return _explained(check, Verdict.CANNOT_JUDGE, message, others[0].source)
        return check

    @cached_property
    def _implicit_samples(self) -> int:
        """The leaves that reach an operand of such a sample, as bits."""
        reads, count = Reads(IMPLICIT_SAMPLES), len(self._program.leaves)
        body = self._program.body
        walk(reads, body, [1 << i if i < count else 0 for i in range(len(body.jaxpr.invars))], ())
        return reads.found

    def _cuts(self, leaf: int) -> tuple[tuple[Cut, ...], tuple[Cut, ...]]:
        """On the paths of a leaf: each `stop_gradient`, those of the user first, and what else cuts."""
        sites = [site for site in self._program.cut_sites if site.leaves >> leaf & 1]
        stops = cuts_of(site for site in sites if site.eqn.primitive.name == "stop_gradient")
        others = cuts_of(site for site in sites if site.eqn.primitive.name != "stop_gradient")
        # A softmax has one inside, at the line that calls it.
        written = sorted(stops, key=lambda cut: not (cut.source and "stop_gradient" in cut.source.text))
        return tuple(written), others

    def _suspects(self, stops: Sequence[Cut]) -> Iterator[SuspectedCause]:
        unsure = {rule.key for rule in self._unsure}
        every = unsure | {rule.key for rule in self._wrong}
        if self._wrong:
            yield self._rule(self._wrong)
        if stops:
            message = leaf_messages.of_stop_gradient(stops[0])
            cut = SuspectedCause(
                "stop", without_stop_gradient, Verdict.CANNOT_JUDGE, message, stops[0].source
            )
            yield cut
        if self._unsure:
            yield self._rule(self._unsure)
        if stops and every:
            blamed = self._rule(self._wrong or self._unsure)

            def both(body: Body) -> Body:
                return without_stop_gradient(without_custom_rules(body, every))

            yield replace(blamed, key=f"stop and {sorted(every)}", rewrite=both)

    def _rule(self, rules: Sequence[CheckedRule]) -> SuspectedCause:
        keys, first = {rule.key for rule in rules}, rules[0].check
        message = leaf_messages.of_custom_rule(first)
        return SuspectedCause(
            str(sorted(keys)),
            lambda body: without_custom_rules(body, keys),
            first.verdict,
            message,
            first.source,
            leaf_messages.of_required_rule(first),
        )

    def _gradient_without(self, suspect: SuspectedCause, judge: LeafJudge) -> list[Any] | None:
        """The gradient of the program without the suspected cause; `None` where JAX has none.

        A custom rule is often there because its function has no derivative: a callback, a loop, a kernel.
        """
        if suspect.key not in self._gradients:
            changed = suspect.rewrite(self._program.body)
            try:
                self._gradients[suspect.key] = self._surface.gradient_of(changed, judge.here.weights)
            except NotEnoughMemory:
                raise
            except GradscopeError:
                self._gradients[suspect.key] = None
        return self._gradients[suspect.key]


def _explains(gradient: list[Any], leaf: int, judge: LeafJudge) -> bool:
    """The rewritten program has another gradient for this leaf, and that one agrees."""
    other = np.asarray(gradient[leaf], np.float64).ravel()
    if np.array_equal(other, judge.here.gradient(leaf)):
        return False
    return judge.judge_gradient(leaf, other).verdict is Verdict.RIGHT


def _explained(
    check: GradientCheck, verdict: Verdict, message: leaf_messages.CauseAndReason, source: Source | None
) -> GradientCheck:
    cause, reason = message
    return replace(check, verdict=verdict, cause=cause, reason=reason, source=source or check.source)
