"""Recurrent weights that see nothing but zeros: the state of a step does not come to the next one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any

import jax

from gradscope.records import Idleness, IdleRecurrence
from gradscope.trace import jaxprs
from gradscope.trace.domains.idle_states import IdleProduct, IdleStates, idle_states
from gradscope.trace.domains.needed import Needed
from gradscope.trace.program import Program
from gradscope.trace.sites import members_of
from gradscope.trace.sources import source_of

_LOOPS = frozenset({"scan"})


def idle_recurrences(program: Program, batch: Any, silent: bool) -> Iterator[IdleRecurrence]:
    """In the order of the program. `silent`: whether some weights get no gradient, without which no loop that
    is written out is looked at."""
    if not (silent or jaxprs.has_primitive(program.body, _LOOPS)):
        return
    found = idle_states(program.body, len(program.leaves))
    told = 0
    for kind, products, steps in _told(program, found, _examples(batch), silent):
        idle = [each for each in products if not each.weights & (found.busy | told)]
        if idle:
            told |= _bits(idle)
            yield _record(program, kind, idle, steps)


def _told(
    program: Program, found: IdleStates, examples: int | None, silent: bool
) -> Iterator[tuple[Idleness, list[IdleProduct], int]]:
    """The surest first."""
    for path, loop in found.loops.items():
        inside = [each for at, each in found.products.items() if at[: len(path)] == path]
        if loop.length > 1:
            over = [each for each in inside if each.weights & loop.overwritten]
            yield Idleness.OVERWRITTEN, over, loop.length
        if 1 < loop.length != examples and any(examples in shape for shape in loop.rows):
            # Zeros beside an input of a step that hands nothing on may be a filler of its features.
            whole = [each for each in inside if each.operand.zero]
            apart = [each for each in whole if not each.weights & loop.carried]
            yield Idleness.APART, apart, loop.length
    whole = [each for each in found.products.values() if each.operand.zero]
    if silent and whole:
        for steps, products in _written_out(program, found, whole).items():
            yield Idleness.WRITTEN_OUT, products, steps
        yield Idleness.ONCE, whole, 1


def _examples(batch: Any) -> int | None:
    """`None` where the arrays of the batch do not agree: a loop may go over examples."""
    arrays = [leaf for leaf in jax.tree.leaves(batch) if getattr(leaf, "ndim", 0) > 0]
    counts = {int(each.shape[0]) for each in arrays}
    return counts.pop() if len(counts) == 1 else None


def _written_out(
    program: Program, found: IdleStates, products: Sequence[IdleProduct]
) -> dict[int, list[IdleProduct]]:
    """By how often: the same product again and again, of which one alone is read."""
    loops, needed = set(found.loops), Needed()
    needed.run(program.body, [True, *[False] * (len(program.body.jaxpr.outvars) - 1)])
    uses: dict[int, list[IdleProduct]] = {}
    for each in products:
        if not any(each.path[:depth] in loops for depth in range(1, len(each.path))):
            uses.setdefault(each.weights, []).append(each)
    told: dict[int, list[IdleProduct]] = {}
    for same in uses.values():
        read = [each for each in same if any(needed.outs.get(each.path, ()))]
        if len(same) > 1 and len(read) == 1:
            told.setdefault(len(same), []).extend(read)
    return told


def _bits(products: Sequence[IdleProduct]) -> int:
    return reduce(or_, (each.weights for each in products), 0)


def _record(program: Program, kind: Idleness, products: Sequence[IdleProduct], steps: int) -> IdleRecurrence:
    owners = {leaf: group.name for group in program.layers for leaf in group.leaves}
    leaves = sorted(members_of(_bits(products)))
    return IdleRecurrence(
        kind=kind,
        parameters=tuple(program.leaves[leaf].name for leaf in leaves),
        layers=tuple(dict.fromkeys(owners[leaf] for leaf in leaves if leaf in owners)),
        source=source_of(products[0].eqn, products[0].calls),
        steps=steps,
        part=all(each.operand.part for each in products),
    )
