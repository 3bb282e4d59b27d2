"""Where the gradient ends: operations to whose result some comes back, and to whose operands exactly none.

Looked for where layers get no gradient at all, by adding zeros to what every operation behind them gives: the
gradient with respect to these is what comes back there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.measure.cleared import Cleared
from gradscope.records import GradientEnd, Layer
from gradscope.trace import jaxprs
from gradscope.trace.changed import Change, Changed
from gradscope.trace.compiling import compile_program
from gradscope.trace.graph import Node, upstream
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import activation

MOST = 500
"""Operations behind the last of these layers: more are not looked at."""


def without_gradient(layers: Sequence[Layer]) -> list[str]:
    """Those to whose output exactly nothing comes back, at the start and after some steps."""
    return [
        layer.name
        for layer in layers
        if layer.depth is not None
        and layer.gradient_max == 0
        and layer.delta_norm == 0
        and layer.nonzero_after_steps is False
    ]


def gradient_ends(
    program: Program, layers: Sequence[str], inputs: Inputs, cleared: Cleared
) -> Iterator[GradientEnd]:
    """From the last one on to the first, each line once."""
    nodes = _behind(program, layers)
    if not 0 < len(nodes) <= MOST:
        return
    arrives = dict(zip(map(id, nodes), _arriving(program, nodes, inputs), strict=True))
    told = set[Any]()
    for node in reversed(nodes):
        before = [each.node for each in node.operands if each.grad and each.node is not None]
        known = [arrives[id(each)] for each in before if id(each) in arrives]
        layer = _layer(program, node, layers)
        if not arrives[id(node)] > 0 or not known or any(known) or layer is None:
            continue
        end = GradientEnd(_name(node), source_of(node.eqn, node.calls), layer, cleared.clears(node))
        if (end.function, end.source) not in told:
            told.add((end.function, end.source))
            yield end


def _behind(program: Program, layers: Sequence[str]) -> list[Node]:
    """All that depend on the output of one of the layers, with one real result that has a gradient."""
    names = program.layer_names
    sites = {site.path[:-1] for site in program.sites if names.get(site.id) in layers}
    found: list[Node] = []
    reached: set[int] = set()
    for node in program.graph.nodes:
        if node.path in sites or any(id(each.node) in reached for each in node.operands if each.node):
            reached.add(id(node))
            if len(node.results) == 1 and node.results[0].grad:
                found.append(node)
    return found


def _arriving(program: Program, nodes: Sequence[Node], inputs: Inputs) -> list[float]:
    """The largest element of what comes back to the result of each."""

    def loss(zeros: list[Any], weights: list[Any], others: list[Any], consts: list[Any]) -> Any:
        added = {node.path: _adding(zero) for node, zero in zip(nodes, zeros, strict=True)}
        body = Body(program.body.jaxpr, consts)
        return jnp.asarray(Changed({}, added).run(body, [*weights, *others], {})[0][0])

    def largest(*arguments: Any) -> list[Any]:
        return [jnp.max(jnp.abs(each), initial=0) for each in jax.grad(loss)(*arguments)]

    zeros = [jnp.zeros(node.results[0].aval.shape, node.results[0].aval.dtype) for node in nodes]
    arguments = zeros, inputs.weights, inputs.others, list(program.body.consts)
    return [float(np.asarray(each)) for each in compile_program(largest, arguments, runs=1)(*arguments)]


def _adding(zero: Any) -> Change:
    return lambda outs: [outs[0] + zero, *outs[1:]]


def _name(node: Node) -> str:
    rule = jaxprs.custom_rule(node.eqn)
    return activation(node.eqn) or (rule.function if rule is not None and rule.function else node.name)


def _layer(program: Program, node: Node, layers: Sequence[str]) -> str | None:
    """The last of the layers that it is computed from."""
    above = {each.path for each in upstream(each for each in node.operands if each.grad)}
    names = program.layer_names
    found = [names[site.id] for site in program.sites if site.path[:-1] in above and site.id in names]
    return found[-1] if found and found[-1] in layers else None
