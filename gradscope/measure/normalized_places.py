"""Values of the model that are normalized over their places and not over their features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import lax

from gradscope.records import NormalizedPlaces
from gradscope.trace import jaxprs
from gradscope.trace.graph import Node, Quantity, upstream
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import ROOTS, VIEWS

EPSILON = 1e-5


@dataclass(frozen=True)
class Normalization:
    centered: Node
    """x less its mean."""
    scaled: Node
    """That over the root of its variance, or times the inverse."""
    axes: tuple[int, ...]

    @property
    def functions(self) -> dict[int, Callable[..., Any]]:
        """In the place of both: the same over the last axis."""
        eqn, at = self.scaled.eqn, self.scaled.operands.index(self.centered.results[0])
        return {id(self.centered.eqn): _centered, id(eqn): partial(_scaled, at)}


def normalizations(program: Program) -> list[Normalization]:
    """Those over axes that are neither the first, which counts examples, nor the last one; of values that
    depend on parameters, in the order of the program."""
    names = frozenset({"reduce_sum"}), ROOTS
    if not all(jaxprs.has_primitive(program.body, each) for each in names):
        return []
    graph = program.graph
    return [found for node in graph.nodes for found in _normalization(node)]


def normalized_places(found: Sequence[Normalization]) -> tuple[NormalizedPlaces, ...]:
    return tuple(
        NormalizedPlaces(
            source=source_of(each.scaled.eqn, each.scaled.calls),
            shape=each.centered.results[0].shape,
            axes=each.axes,
        )
        for each in found
    )


def _normalization(node: Node) -> Iterator[Normalization]:
    if node.name not in ("div", "mul"):
        return
    for at in (0, 1) if node.name == "mul" else (0,):
        centered, by = node.operands[at].node, node.operands[1 - at]
        if centered is None or centered.name != "sub":
            continue
        x, mean = centered.operands
        axes, rank = _mean_over(mean, x), len(x.shape)
        places = bool(axes) and 0 not in axes and rank - 1 not in axes and x.shape[-1] > 1
        if places and x.reads and by.reads == x.reads and _is_root_over(by, axes):
            yield Normalization(centered, node, axes)


def _mean_over(mean: Quantity, x: Quantity) -> tuple[int, ...]:
    """The axes, or none where it is not the mean of x."""
    while mean.node is not None and mean.node.name != "reduce_sum":
        node = mean.node
        others = node.operands[1:]
        scaled = node.name in ("div", "mul") and all(each.number is not None for each in others)
        if not (scaled or node.name in VIEWS):
            return ()
        mean = node.operands[0]
    return _summed(mean.node) if mean.node is not None and mean.node.operands[0] is x else ()


def _is_root_over(by: Quantity, axes: tuple[int, ...]) -> bool:
    if any(size > 1 for axis, size in enumerate(by.shape) if axis in axes) and by.node is not None:
        by = by.node.operands[0] if by.node.name == "broadcast_in_dim" else by
    above = upstream([by])
    names = {node.name for node in above}
    return not names.isdisjoint(ROOTS) and any(
        node.name == "reduce_sum" and _summed(node) == axes for node in above
    )


def _summed(node: Node) -> tuple[int, ...]:
    (moves,) = jaxprs.moves(node.eqn) or [()]
    return tuple(axis for axis, to in enumerate(moves) if to is None)


def _centered(x: Any, mean: Any) -> Any:
    del mean
    return x - jnp.mean(x, axis=-1, keepdims=True, dtype=jnp.float32).astype(x.dtype)


def _scaled(at: int, *operands: Any) -> Any:
    x = operands[at].astype(jnp.float32)
    root = lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + EPSILON)
    return (x * root).astype(operands[at].dtype)
