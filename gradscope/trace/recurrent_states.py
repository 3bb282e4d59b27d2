"""Which of the states that a loop carries are its memory: those that feed themselves, and each other.

The cell and the output of an LSTM feed each other and are one memory; the states of two layers in one loop
are two, for the second reads the first and not the other way round. A counter, an input that is handed on to
the next step, and a sum to which steps add what nobody reads until the end (a loss) are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradscope.trace.domains.reach import Reach
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside
from gradscope.trace.sites import members_of
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.walk import walk

_HANDS_ON = VIEWS - {"broadcast_in_dim"}


def memories(body: Body, carried: range, places: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Groups of places among the carried values of a loop's step; of `places`, which are floating."""
    given = [0] * len(body.jaxpr.invars)
    for place in places:
        given[carried.start + place] = 1 << place
    outs = walk(Reach(), body, given, ())
    sums = {place for place in places if _is_running_sum(body, carried.start + place, place)}
    reads = {place: outs[place] for place in places if place not in sums}
    reached = _closed(reads)
    groups: list[tuple[int, ...]] = []
    for place in reads:
        alike = tuple(i for i in reads if reached[place] >> i & 1 and reached[i] >> place & 1)
        if alike and alike not in groups:
            groups.append(alike)
    return tuple(groups)


def _closed(reads: dict[int, int]) -> dict[int, int]:
    """By state, all that it reads, at first or at second hand."""
    found: dict[int, int] = dict(reads)
    before: dict[int, int] = {}
    while found != before:
        before = dict(found)
        for place, bits in before.items():
            for other in members_of(bits):
                found[place] |= before.get(other, 0)
    return found


def _is_running_sum(body: Body, number: int, place: int) -> bool:
    """Input `number` becomes output `place` by nothing but additions, and goes nowhere else."""
    return _added_to(body, number) == place


def _added_to(body: Body, number: int) -> int | None:
    """The one output that is the input plus something; `None` where it is used in any other way."""
    var: Any = body.jaxpr.invars[number]
    while True:
        users = [eqn for eqn in body.eqns for atom in eqn.invars if atom is var]
        outs = [place for place, atom in enumerate(body.jaxpr.outvars) if atom is var]
        if len(users) + len(outs) != 1:
            return None
        if outs:
            return outs[0]
        (eqn,) = users
        carried = inside(eqn)
        if eqn.primitive.name in ("add", "add_any") or eqn.primitive.name in _HANDS_ON:
            var = eqn.outvars[0]
            continue
        if carried is None or not carried.calls or carried.own_rule:
            return None
        (entry,) = carried.entries
        operand = next(i for i, atom in enumerate(eqn.invars) if atom is var)
        after = _added_to(entry.body, entry.operands.index(operand))
        if after is None:
            return None
        var = eqn.outvars[after]
