"""Looks for terms of the loss whose gradient goes where no learning comes of it, as the graph shows them."""

from __future__ import annotations

from gradscope.trace.misdirected.offsets import offsets
from gradscope.trace.misdirected.policies import clipped, entropies, every_choice
from gradscope.trace.misdirected.sums import averaged, summed
from gradscope.trace.misdirected.tail import Tail, Wiring as Wiring
from gradscope.trace.misdirected.values import baselines, targets
from gradscope.trace.program import Program

_LOOKS = (targets, baselines, averaged, summed, every_choice, clipped, entropies, offsets)


def wirings(program: Program) -> list[Wiring]:
    """In the order of the program, those of one line once."""
    tail = Tail(program)
    found: dict[tuple[object, ...], Wiring] = {}
    for look in _LOOKS:
        for each in look(tail):
            made = each if isinstance(each, Wiring) else Wiring(each)
            found.setdefault((made.record.kind, made.record.source), made)
    return list(found.values())
