"""Recurrent weights that see nothing but zeros: the state of a step does not come to the next one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import jax

from gradscope.records import Idleness, IdleRecurrence
from gradscope.trace import jaxprs
from gradscope.trace.domains.idle_states import IdleProduct, IdleStates, idle_states
from gradscope.trace.domains.needed import Needed
from gradscope.trace.program import Program
from gradscope.trace.sites import members_of
from gradscope.trace.sources import source_of
from gradscope.trace.walk import Path

_LOOPS = frozenset({"scan"})


def idle_recurrences(program: Program, batch: Any, silent: bool) -> Iterator[IdleRecurrence]:
    """In the order of the program. `silent`: whether some weights get no gradient, without which no loop that
    is written out is looked at."""
    if not (silent or jaxprs.has_primitive(program.body, _LOOPS)):
        return
    found = idle_states(program.body, len(program.leaves))
    examples = _examples(batch)
    for path, loop in found.loops.items():
        inside = [each for at, each in found.products.items() if at[: len(path)] == path]
        over = [each for each in inside if each.weights & loop.overwritten]
        apart = [each for each in inside if not each.weights & loop.carried]
        if loop.length > 1:
            yield from _of(program, found, Idleness.OVERWRITTEN, over, loop.length)
        if 1 < loop.length != examples and any(examples in shape for shape in loop.rows):
            yield from _of(program, found, Idleness.APART, apart, loop.length)
    if silent:
        yield from _written_out(program, found)


def _examples(batch: Any) -> int | None:
    """`None` where the arrays of the batch do not agree: a loop may go over examples."""
    arrays = [leaf for leaf in jax.tree.leaves(batch) if getattr(leaf, "ndim", 0) > 0]
    counts = {int(each.shape[0]) for each in arrays}
    return counts.pop() if len(counts) == 1 else None


def _written_out(program: Program, found: IdleStates) -> Iterator[IdleRecurrence]:
    """The same product again and again, of which the last one alone is read."""
    loops = set(found.loops)
    plain = [each for each in found.products.values() if not _within(each.path, loops)]
    plain = sorted((each for each in plain if each.operand.zero), key=lambda each: each.weights)
    needed: Needed | None = None
    for _, same in groupby(plain, key=lambda each: each.weights):
        uses = list(same)
        if len(uses) > 1:
            if needed is None:
                needed = Needed()
                needed.run(program.body, [True, *[False] * (len(program.body.jaxpr.outvars) - 1)])
            live = [each for each in uses if any(needed.outs.get(each.path, ()))]
            if len(live) == 1:
                yield from _of(program, found, Idleness.WRITTEN_OUT, live, len(uses))


def _within(path: Path, loops: set[Path]) -> bool:
    return any(path[:depth] in loops for depth in range(1, len(path)))


def _of(
    program: Program, found: IdleStates, kind: Idleness, products: Sequence[IdleProduct], steps: int
) -> Iterator[IdleRecurrence]:
    """One for all products; of a weight that is multiplied with something else too, nothing is said."""
    idle = [each for each in products if not each.weights & found.busy]
    if not idle:
        return
    bits = 0
    for each in idle:
        bits |= each.weights
    owners = {leaf: group.name for group in program.layers for leaf in group.leaves}
    leaves = sorted(members_of(bits))
    yield IdleRecurrence(
        kind=kind,
        parameters=tuple(program.leaves[leaf].name for leaf in leaves),
        layers=tuple(dict.fromkeys(owners[leaf] for leaf in leaves if leaf in owners)),
        source=source_of(idle[0].eqn, idle[0].calls),
        steps=steps,
        part=all(each.operand.part for each in idle),
    )
