"""A dangerous operation that its operands can bring to its point, and whether anybody would feel it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.intervals.conditions import narrowed
from gradscope.trace.domains.intervals.dangers import Danger, danger_of
from gradscope.trace.domains.intervals.known import Known
from gradscope.trace.sites import Measure, Plan, Probe

PARAMS, BATCH = 1, 2
"""Bits of the inputs; a candidate's own comes after them."""


@dataclass(eq=False)
class Candidate:
    """An operation that its operands can bring to a point where it is not finite."""

    kind: str
    guarded: bool
    """A `where` takes its result only where it is in no danger; its derivative is computed everywhere."""
    measure: Measure
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    operand: Known
    ins: tuple[Known, ...]
    bit: int
    backward: bool
    plan: Plan
    index: int
    probe: Probe


def is_guarded(candidate: Candidate, chosen: Known, taken_if: bool) -> bool:
    """The operation is in no danger on the elements that are taken."""
    bounds = chosen.holds if taken_if else chosen.fails
    if not any(bound.origin == k.origin for bound in bounds for k in candidate.ins if k.origin):
        return False
    within = [narrowed(chosen, taken_if, k) for k in candidate.ins]
    return any(k is None for k in within) or danger_of(candidate.eqn, [k for k in within if k]) is None


def matters(danger: Danger, ins: Sequence[Known]) -> bool:
    """A derivative that is not finite is felt only where a parameter waits for it."""
    measured = [ins[i] for i in danger.operands]
    if any(k.constant or not k.reads & (PARAMS | BATCH) for k in measured):
        return False
    return not danger.backward or any(k.grad & PARAMS for k in measured)
