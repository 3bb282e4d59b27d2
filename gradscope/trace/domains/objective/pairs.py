"""Values that each example makes with every other one, from where they are made to where they are summed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.objective.axes import Along, Axes

# What may stand between the sums over the two axes; a log or an `exp` there lets the examples compete.
_EVEN = frozenset(
    {"add", "sub", "mul", "div", "add_any", "neg", "abs", "integer_pow", "square", "sqrt", "pow"}
    | {"convert_element_type", "stop_gradient", "copy", "select_n", "name"}
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One meeting of the examples with themselves, in a value."""

    number: int
    axes: frozenset[int]
    """Along which the examples lie; none once all are summed."""
    halved: bool = False
    """One of the two axes is summed."""

    def moved(self, where: Callable[[int], int | None]) -> Pair:
        """After an equation that puts each axis somewhere else, or sums it (`None`)."""
        to = {where(axis) for axis in self.axes}
        kept = frozenset(axis for axis in to if axis is not None)
        return replace(self, axes=kept, halved=self.halved or None in to)


def together(pairs: Iterable[Pair]) -> tuple[tuple[Pair, ...], int]:
    """Those of several operands, each once; and the bits of those that do not lie alike in them."""
    found: dict[int, Pair] = {}
    apart = 0
    for pair in pairs:
        if found.setdefault(pair.number, pair) != pair:
            apart |= 1 << pair.number
    return tuple(found.values()), apart


def unlike(eqn: JaxprEqn, pair: Pair, met: Sequence[tuple[Axes, Sequence[Pair]]]) -> bool:
    """Whether an elementwise operation treats the pairs as pairs.

    Another operand has a value of its own for each of them (a mask, a matrix), or the sums over the second
    axis go through a function that makes them compete.
    """
    if pair.halved:
        return eqn.primitive.name not in _EVEN
    return any(
        all(axes[axis] not in (Along.GROWN, Along.ASKED) for axis in pair.axes)
        and not any(other.axes >= pair.axes for other in pairs)
        for axes, pairs in met
    )
