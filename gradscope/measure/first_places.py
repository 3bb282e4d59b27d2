"""Attention that sees no later place, of which the loss reads the first one alone, with its single key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import Attention, Measurement
from gradscope.trace.changed import Changed
from gradscope.trace.compiling import compile_program
from gradscope.trace.domains.attention import AttentionUse
from gradscope.trace.graph import Node
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.read_steps import taken
from gradscope.trace.sources import source_of


def with_first_places(
    measurement: Measurement, program: Program, uses: Sequence[AttentionUse], inputs: Inputs
) -> tuple[Attention, ...]:
    """Looked at where queries and keys have no gradient, at the start and after some steps, though some rows
    have several keys."""
    silent = {
        layer.name
        for layer in measurement.layers
        if layer.gradient_max == 0 and layer.nonzero_after_steps is False
    }
    found = []
    for each in measurement.attentions:
        causal = each.masked and each.forward == 0 and each.backward > 0 and each.looked_at > 0
        if causal and each.queries and {each.query, each.key} <= silent:
            each = _looked_at(each, program, _node(program, uses, each), each.queries, inputs)
        found.append(each)
    return tuple(found)


def _node(program: Program, uses: Sequence[AttentionUse], attention: Attention) -> Node | None:
    """The product with the values, where it is one of the graph."""
    names = program.layer_names
    eqns = {
        id(use.eqn)
        for use in uses
        if [names.get(site) for site in use.scores.sites if site is not None]
        == [attention.query, attention.key]
    }
    found = [node for node in program.graph.nodes if id(node.eqn) in eqns]
    return found[0] if len(found) == 1 else None


def _looked_at(
    attention: Attention, program: Program, node: Node | None, places: int, inputs: Inputs
) -> Attention:
    if node is None or len(node.results) != 1 or not _reads_the_first(program, node, places, inputs):
        return attention
    at = next(taken(program.graph, node, places), None)
    return replace(attention, first_alone=True, taken_at=None if at is None else source_of(at.eqn, at.calls))


def _reads_the_first(program: Program, node: Node, places: int, inputs: Inputs) -> bool:
    """Whether what comes back to its result is exactly 0 at all places of one axis but the first."""
    value = node.results[0].aval

    def loss(zero: Any, weights: list[Any], others: list[Any], consts: list[Any]) -> Any:
        changed = Changed({}, {node.path: lambda outs: [outs[0] + zero]})
        body = Body(program.body.jaxpr, consts)
        return jnp.asarray(changed.run(body, [*weights, *others], {})[0][0])

    def by_place(*arguments: Any) -> list[Any]:
        delta = jnp.abs(jax.grad(loss)(*arguments))
        return list(_along_each(delta, places))

    arguments = jnp.zeros(value.shape, value.dtype), inputs.weights, inputs.others, list(program.body.consts)
    found = compile_program(by_place, arguments, runs=1)(*arguments)
    deltas = [np.asarray(each) for each in found]
    return any(delta[0] > 0 and not np.any(delta[1:]) for delta in deltas)


def _along_each(delta: Any, places: int) -> Iterator[Any]:
    """The largest element at each place, of every axis that may count them."""
    for axis, size in enumerate(delta.shape):
        if size == places:
            yield jnp.max(delta, tuple(other for other in range(delta.ndim) if other != axis))
