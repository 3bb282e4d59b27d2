"""Why a gradient differs from the differences: found by taking the suspect out of the program.

`stop_gradient` and custom rules change the gradient and not the loss. A program without them has the same
differences; where its gradient agrees with them, what was taken out is the reason. On purpose or wrong is
then a question about a rule, which has been checked by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradscope.errors import GradscopeError
from gradscope.records import Cut, GradientCheck, Source, Verdict
from gradscope.trace.jaxprs import Body
from gradscope.trace.jaxprs.rewriting import without_custom_rules, without_stop_gradient
from gradscope.trace.program import Program, cuts_of
from gradscope.verification.gradient import words as gradient_words
from gradscope.verification.gradient.judging import FINE, Judge
from gradscope.verification.gradient.surface import Surface
from gradscope.verification.rules import CheckedRule


@dataclass(frozen=True)
class Suspect:
    """Something to take out, and what is said where that makes the gradient agree."""

    key: str
    rewrite: Callable[[Body], Body]
    verdict: Verdict
    words: gradient_words.Words
    source: Source | None
    if_needed: gradient_words.Words | None = None
    """What is said of a wrong gradient where nothing can be differentiated without it."""


class Reasons:
    """Keeps the gradients of the programs without their suspects, each computed once."""

    def __init__(self, program: Program, surface: Surface, rules: Sequence[CheckedRule], dtype: str) -> None:
        self._program, self._surface, self._dtype = program, surface, dtype
        self._wrong = [rule for rule in rules if rule.check.verdict is Verdict.WRONG]
        self._unsure = [rule for rule in rules if rule.check.verdict is Verdict.CANNOT_JUDGE]
        self._gradients: dict[str, list[Any] | None] = {}

    def told(self, check: GradientCheck, leaf: int, judge: Judge) -> GradientCheck:
        """The check with its reason, which may change `wrong` to `cannot judge`."""
        stops, others = self._cuts(leaf)
        for suspect in self._suspects(stops):
            gradient = self._without(suspect, judge)
            if gradient is None and suspect.if_needed and check.verdict is Verdict.WRONG:
                return _with(check, suspect.verdict, suspect.if_needed, suspect.source)
            if gradient is not None and _explains(gradient, leaf, judge):
                if suspect.verdict is Verdict.WRONG:  # the gradient's own words say by how much
                    words = suspect.words[0], f"{check.reason}: {suspect.words[1]}"
                    return _with(check, check.verdict, words, suspect.source)
                return _with(check, Verdict.CANNOT_JUDGE, suspect.words, suspect.source)
        if others and check.verdict is Verdict.WRONG and judge.here.spacing > FINE:
            words = gradient_words.hidden(others[0], self._dtype)
            return _with(check, Verdict.CANNOT_JUDGE, words, others[0].source)
        return check

    def _cuts(self, leaf: int) -> tuple[tuple[Cut, ...], tuple[Cut, ...]]:
        """On the paths of a leaf: each `stop_gradient`, those of the user first, and what else cuts."""
        sites = [site for site in self._program.cut_sites if site.leaves >> leaf & 1]
        stops = cuts_of(site for site in sites if site.eqn.primitive.name == "stop_gradient")
        others = cuts_of(site for site in sites if site.eqn.primitive.name != "stop_gradient")
        # A softmax has one inside, at the line that calls it.
        written = sorted(stops, key=lambda cut: not (cut.source and "stop_gradient" in cut.source.text))
        return tuple(written), others

    def _suspects(self, stops: Sequence[Cut]) -> Iterator[Suspect]:
        unsure = {rule.key for rule in self._unsure}
        every = unsure | {rule.key for rule in self._wrong}
        if self._wrong:
            yield self._rule(self._wrong)
        if stops:
            words = gradient_words.stopped(stops[0])
            cut = Suspect("stop", without_stop_gradient, Verdict.CANNOT_JUDGE, words, stops[0].source)
            yield cut
        if self._unsure:
            yield self._rule(self._unsure)
        if stops and every:
            blamed = self._rule(self._wrong or self._unsure)

            def both(body: Body) -> Body:
                return without_stop_gradient(without_custom_rules(body, every))

            yield replace(blamed, key=f"stop and {sorted(every)}", rewrite=both)

    def _rule(self, rules: Sequence[CheckedRule]) -> Suspect:
        keys, first = {rule.key for rule in rules}, rules[0].check
        words = gradient_words.ruled(first)
        return Suspect(
            str(sorted(keys)),
            lambda body: without_custom_rules(body, keys),
            first.verdict,
            words,
            first.source,
            gradient_words.needed(first),
        )

    def _without(self, suspect: Suspect, judge: Judge) -> list[Any] | None:
        """The gradient with the suspect taken out; `None` where there is none.

        A custom rule is often there because its function has no derivative: a callback, a loop, a kernel.
        """
        if suspect.key not in self._gradients:
            changed = suspect.rewrite(self._program.body)
            try:
                self._gradients[suspect.key] = self._surface.gradient_of(changed, judge.here.weights)
            except GradscopeError:
                self._gradients[suspect.key] = None
        return self._gradients[suspect.key]


def _explains(gradient: list[Any], leaf: int, judge: Judge) -> bool:
    """The gradient of this leaf is another one, and that one agrees."""
    other = np.asarray(gradient[leaf], np.float64).ravel()
    if np.array_equal(other, judge.here.gradient(leaf)):
        return False
    return judge.against(leaf, other).verdict is Verdict.RIGHT


def _with(
    check: GradientCheck, verdict: Verdict, words: gradient_words.Words, source: Source | None
) -> GradientCheck:
    cause, reason = words
    return replace(check, verdict=verdict, cause=cause, reason=reason, source=source or check.source)
