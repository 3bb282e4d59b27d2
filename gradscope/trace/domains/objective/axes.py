"""Where the axis of the examples lies in a value, and how it came there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs


class Along(Enum):
    """What is known of one axis."""

    NONE = "none"
    EXAMPLES = "examples"
    """It counts the examples of the batch."""
    PROMOTED = "promoted"
    """It counts them too, and stands where NumPy's rank promotion put it: (N,) became (1, N)."""
    GROWN = "grown"
    """Copies along an axis of length one that nobody wrote out."""
    ASKED = "asked"
    """An axis that the author wrote out: `[:, None]`, `expand_dims`, `broadcast_to`, another `vmap`."""


COUNTING = frozenset({Along.EXAMPLES, Along.PROMOTED})
Axes = tuple[Along, ...]


def shape_of(atom: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in getattr(atom.aval, "shape", ()))


def combined(marks: Sequence[Along]) -> Along:
    """Of one axis of the result, given that of each operand."""
    for mark in (Along.EXAMPLES, Along.PROMOTED, Along.NONE, Along.ASKED):
        if mark in marks:
            return mark
    return Along.GROWN if marks else Along.NONE


def side_by_side(eqn: JaxprEqn, ins: Sequence[Axes]) -> list[Axes] | None:
    """The operands' axes as they meet in an elementwise operation; `None` for any other.

    A scalar has no axes and is copied along all of them.
    """
    out = shape_of(eqn.outvars[0])
    found = []
    for atom, axes in zip(eqn.invars, ins, strict=True):
        shape = shape_of(atom)
        if not shape:
            found.append((Along.GROWN,) * len(out))
            continue
        if len(shape) != len(out) or any(size not in (1, o) for size, o in zip(shape, out, strict=True)):
            return None
        found.append(
            tuple(
                Along.GROWN if size == 1 < o and mark is Along.NONE else mark
                for mark, size, o in zip(axes, shape, out, strict=True)
            )
        )
    return found


def of_elementwise(met: Sequence[Axes], rank: int) -> Axes:
    return tuple(combined([axes[axis] for axes in met]) for axis in range(rank))


def joined(eqn: JaxprEqn, ins: Sequence[Axes]) -> Axes:
    """Of `concatenate`: what counts the parts together is no axis of the batch any more."""
    at = jaxprs.axis_of(eqn)
    together = of_elementwise(ins, len(shape_of(eqn.outvars[0])))
    return (*together[:at], Along.NONE, *together[at + 1 :])


def broadcast(eqn: JaxprEqn, axes: Axes) -> Axes:
    """Leading axes that NumPy adds to the operand of lower rank are told from those that are asked for."""
    (moves,) = jaxprs.moves(eqn) or [()]
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    promoted = jaxprs.is_promotion(eqn)
    new = Along.GROWN if promoted else Along.ASKED
    found = [Along.NONE if promoted and size == 1 else new for size in after]
    for axis, to in enumerate(moves):
        if to is None:
            continue
        mark = axes[axis]
        if before[axis] == 1 < after[to]:
            mark = mark if mark is Along.ASKED else new
        elif mark is Along.EXAMPLES and promoted and to > axis:
            mark = Along.PROMOTED
        found[to] = mark
    return tuple(found)


def reshaped(eqn: JaxprEqn, axes: Axes) -> tuple[Axes, dict[int, int]]:
    """The axes after `reshape`, and by axis before it the one that it is now, the first of its part."""
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    if jaxprs.order_before(eqn) != tuple(range(len(before))):
        return (Along.NONE,) * len(after), {}
    found, where = [Along.NONE] * len(after), dict[int, int]()
    for old, new in parts(before, after):
        long = [axis for axis in new if after[axis] > 1]
        first = next((axis for axis in old if before[axis] > 1), None)
        if long:
            where.update(dict.fromkeys(old, long[0]))
            if first is not None and axes[first] in COUNTING:
                found[long[0]] = Along.EXAMPLES
    return tuple(found), where


def parts(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Runs of axes with as many elements before as after."""
    old, new = list(range(len(before))), list(range(len(after)))
    while old or new:
        left, right = [old.pop(0)] if old else [], [new.pop(0)] if new else []
        while (a := _size(before, left)) != (b := _size(after, right)):
            if a < b and old:
                left.append(old.pop(0))
            elif new:
                right.append(new.pop(0))
            else:
                return
        yield left, right


def _size(shape: Sequence[int], axes: Sequence[int]) -> int:
    return list(itertools.accumulate((shape[axis] for axis in axes), int.__mul__, initial=1))[-1]


def looked_up(eqn: JaxprEqn, table: Axes, indices: Axes) -> Axes:
    """Of `gather`: the axes of its windows, and those that count the indices."""
    about = jaxprs.lookup(eqn)
    found = [Along.NONE] * len(shape_of(eqn.outvars[0]))
    for axis, to in enumerate(about.windows):
        if to is not None and shape_of(eqn.invars[0])[axis] == shape_of(eqn.outvars[0])[to]:
            found[to] = table[axis]
    for axis, to in enumerate(about.batch):
        if axis < len(indices) and indices[axis] in COUNTING:
            found[to] = Along.EXAMPLES
    return tuple(found)


def moved(moves: jaxprs.Moves, axes: Axes, rank: int) -> Axes:
    """The axes of one operand after an equation that only carries them on."""
    found = [Along.NONE] * rank
    for axis, to in enumerate(moves):
        if to is not None:
            found[to] = axes[axis]
    return tuple(found)


def of_product(marks: Sequence[Axes], rank: int) -> Axes:
    """Each axis of a product comes from one operand, a shared one from both."""
    return tuple(
        next((one[axis] for one in marks if one[axis] is not Along.NONE), Along.NONE) for axis in range(rank)
    )


def across(stays: Axes, comes: Axes) -> tuple[int, int] | None:
    """The axes of the result along which the examples of two operands lie.

    Those of the first stand where they were, those of the other where rank promotion put them.
    """
    for second, mark in enumerate(comes):
        if mark is Along.PROMOTED and stays[second] in (Along.GROWN, Along.ASKED):
            for first in range(second):
                if stays[first] is Along.EXAMPLES and comes[first] is Along.GROWN:
                    return first, second
    return None
