"""Normalizations by running statistics that no batch has updated: the variance of each feature is exactly 1.

Beside them stands what training mode does: the mean and the variance of the batch in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from gradscope.records import UntouchedStatistics
from gradscope.trace import jaxprs
from gradscope.trace.graph import Node, Quantity, behind, viewed
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import ELEMENTWISE, VIEWS

EPSILON = 1e-5
_ROOTS = frozenset({"sqrt", "rsqrt"})
_SUMS = frozenset({"add", "add_any", "sub"})
_THROUGH = VIEWS | ELEMENTWISE | {"neg"}


@dataclass(frozen=True)
class Untouched:
    scaled: Node
    """Values of the model over the root of the statistics, or times what is made of one over it."""
    at: int
    """The operand that is these values."""
    axes: tuple[int, ...]
    """Along which the statistics are one number: the examples and their places."""
    variances: int

    @property
    def functions(self) -> dict[int, Callable[..., Any]]:
        """In the place of it: the same with these values standardized over the batch."""
        return {id(self.scaled.eqn): partial(_normalized, self.scaled.name, self.at, self.axes)}


def untouched_statistics(program: Program, inputs: Inputs) -> list[Untouched]:
    """In the order of the program; nothing where some of a variance is another number than 1."""
    if not any(jaxprs.has_primitive(program.body, frozenset({name})) for name in _ROOTS):
        return []
    values = [*inputs.weights, *inputs.others]
    nodes = program.graph.nodes
    found = [_untouched(node, values) for node in nodes if node.name in ("mul", "div")]
    return [each for each in found if each is not None and _goes_on(nodes, each)]


def untouched_records(program: Program, found: Sequence[Untouched]) -> tuple[UntouchedStatistics, ...]:
    return tuple(
        UntouchedStatistics(source_of(each.scaled.eqn, each.scaled.calls), each.variances) for each in found
    )


def _untouched(node: Node, values: Sequence[Any]) -> Untouched | None:
    for at in (0, 1) if node.name == "mul" else (0,):
        x, by = node.operands[at], node.operands[1 - at]
        shape = x.shape
        if not x.reads or len(shape) < 2 or len(shape) != len(by.shape) or _varying(x)[0] == 1:
            continue
        if _difference_with_data(x):
            continue
        for root, divides in _roots(by, node.name == "div"):
            if not divides:
                continue
            variances = _ones(root, values)
            kept = _kept(by, root)
            axes = tuple(axis for axis in range(len(shape)) if axis not in (kept or ()))
            if variances and kept and 0 in axes:
                return Untouched(node, at, axes, variances)
    return None


def _difference_with_data(x: Quantity) -> bool:
    """An error of each example: what is taken away is no mean over them."""
    node = behind(x, VIEWS | {"neg"}).node
    if node is None or node.name != "sub":
        return False
    return any(not each.reads and each.shape and _varying(each)[0] > 1 for each in node.operands)


def _goes_on(nodes: Sequence[Node], found: Untouched) -> bool:
    """Whether parameters scale what was divided, or are multiplied with it later on: what goes from there to
    the loss alone is an error in units of a deviation."""
    if found.scaled.operands[1 - found.at].reads:
        return True
    behind_it = {id(found.scaled)}
    for node in nodes:
        made = [each.node is not None and id(each.node) in behind_it for each in node.operands]
        if any(made):
            behind_it.add(id(node))
            others = (each for each, inner in zip(node.operands, made, strict=True) if not inner)
            if node.name not in _SUMS and any(each.reads for each in others):
                return True
    return False


def _roots(by: Quantity, divides: bool) -> Iterator[tuple[Node, bool]]:
    """Behind views and factors, but no sum with values of the model; and whether the values end up divided by
    the root. `divides`: whether they are divided by `by`."""
    waiting, met = [(by, divides)], set()
    while waiting:
        value, divides = waiting.pop()
        node = value.node
        if node is None or id(node) in met:
            continue
        met.add(id(node))
        if node.name in _ROOTS:
            yield node, divides == (node.name == "sqrt")
        elif node.name in VIEWS | {"mul", "div", "neg"}:
            below = node.name == "div"
            waiting.extend((each, divides != (below and i == 1)) for i, each in enumerate(node.operands))


def _ones(root: Node, values: Sequence[Any]) -> int:
    """How many variances stand under a root together with a small number, where each of them is 1."""
    inside = viewed(root.operands[0]).node
    if inside is None or inside.name != "add":
        return 0
    for state, small in (inside.operands, inside.operands[::-1]):
        number = viewed(small).number
        state = viewed(state)
        if number is None or not 0 < float(np.max(number)) < 1 or state.reads or state.node is not None:
            continue
        value = state.constant if state.position is None else values[state.position]
        array = np.asarray(value) if value is not None else np.zeros(0)
        if array.size > 1 and array.dtype.kind not in "OV" and bool((array == 1).all()):
            return int(array.size)
    return 0


def _kept(by: Quantity, root: Node) -> frozenset[int] | None:
    """The axes of `by` along which what comes from the root may vary; `None` where it does not come alone
    through views and factors."""
    if by.node is None:
        return None
    if by.node is root:
        return frozenset(axis for axis, size in enumerate(_varying(root.operands[0])) if size > 1)
    found = [(i, kept) for i, each in enumerate(by.node.operands) if (kept := _kept(each, root)) is not None]
    if not found or by.node.name not in _THROUGH:
        return None
    place, kept = found[0]
    if by.node.name not in VIEWS:
        return kept
    moves = jaxprs.moves(by.node.eqn)
    if moves is not None:
        return frozenset(to for axis in kept if (to := moves[place][axis]) is not None)
    before, after = by.node.operands[place].shape, by.shape
    if by.node.name != "reshape":
        return kept
    sizes = [before[axis] for axis in sorted(kept)]
    long = [axis for axis, size in enumerate(after) if size > 1]
    return frozenset(long) if [after[axis] for axis in long] == sizes else None


def _varying(value: Quantity) -> tuple[int, ...]:
    """Its shape with axes of 1 where it was only broadcast."""
    node = value.node
    if node is None:
        return value.shape
    if node.name == "broadcast_in_dim":
        (moves,) = jaxprs.moves(node.eqn) or [()]
        inner, shape = _varying(node.operands[0]), [1] * len(value.shape)
        for axis, to in enumerate(moves):
            if to is not None:
                shape[to] = inner[axis]
        return tuple(shape)
    if node.name in ELEMENTWISE:
        shapes = [_varying(each) for each in node.operands]
        full = [each for each in shapes if len(each) == len(value.shape)]
        return tuple(max(sizes) for sizes in zip(*full, strict=True)) if full else value.shape
    return value.shape


def _normalized(name: str, at: int, axes: tuple[int, ...], *operands: Any) -> Any:
    x, by = operands[at], operands[1 - at]
    wide = x.astype(jnp.float32)
    centered = wide - jnp.mean(wide, axes, keepdims=True)
    scaled = centered * lax.rsqrt(jnp.mean(centered * centered, axes, keepdims=True) + EPSILON)
    scaled = scaled.astype(x.dtype)
    return scaled / by if name == "div" else scaled * by
