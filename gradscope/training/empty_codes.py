"""Penalties on what layers put out, as the KL divergence of a code, that leave nothing in it.

Such a term reads the batch through the model alone, element by element of outputs from which further layers
make what is compared with the data. Where its gradient is strong, the training is run with a hundredth of it,
and each time the code is exchanged among the rows: what the rest of the loss does not notice was not carried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.records import EmptyCode
from gradscope.trace.changed import Change, Changed
from gradscope.trace.domains.data_meetings import data_meetings
from gradscope.trace.graph import Node, Quantity, upstream
from gradscope.trace.imbalance import elementwise_products, leads_to
from gradscope.trace.leaves import norm
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of
from gradscope.trace.summands import summands
from gradscope.trace.walk import Path
from gradscope.training.optimizer import Leaves
from gradscope.training.other_losses import OtherLoss
from gradscope.training.penalties import of_weights_alone
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

STRONG = 0.5
"""Norm of its gradient over that of the rest, of the weights that make the code and before the first step:
from there on less of it is tried."""
LESS = 0.01


@dataclass(frozen=True)
class _Penalty:
    uses: tuple[tuple[Node, int], ...]
    """What takes it on the way to the loss, and as which operand."""
    made: Node
    code: frozenset[Node]
    """The products whose results it is taken of."""


def empty_code(program: Program, made: Trainer, steps: int, batches: int) -> EmptyCode | None:
    """Of all such penalties together, where they are strong."""
    rows = made.feed.rows
    found = _penalties(program) if steps >= USUAL_STEPS and rows is not None and rows > 1 else None
    if found is None or rows is None or made.searches:
        return None
    axes = {node.path: _row_axis(node, rows) for node in found.code}
    if None in axes.values():
        return None
    order = np.random.default_rng(0).permutation(rows)
    code = {path: _exchanged(order, axis) for path, axis in axes.items() if axis is not None}
    at = made.feed.at(0, made.weights)
    rest = OtherLoss(program, lambda given: Changed(_scaled(found, given), {}), at, jnp.float32(0))
    none, less = jnp.float32(0), jnp.float32(LESS)
    share = _share(made.gradients()[1], rest(at, none)[1], found)
    if not (math.isfinite(share) and share >= STRONG):
        return None
    count = LONGER * steps
    mixed = OtherLoss(program, lambda given: Changed(_scaled(found, given), code), at, jnp.float32(0))
    lighter = made.run(count, Modification(loss=lambda inputs, _: rest(inputs, less))).weights
    with_it = made.unchanged(count)

    def of(loss: OtherLoss, weights: Leaves) -> float:
        return loss.mean(made, weights, batches, [none])[0]

    return EmptyCode(
        source=source_of(found.made.eqn, found.made.calls),
        layers=_layers(program, found.code),
        share=share,
        steps=count,
        start=of(rest, made.weights),
        end=of(rest, with_it),
        exchanged=of(mixed, with_it),
        end_with_less=of(rest, lighter),
        exchanged_with_less=of(mixed, lighter),
        less=LESS,
    )


def _scaled(found: _Penalty, factor: Any) -> Mapping[Path, Change]:
    places: dict[Path, set[int]] = {}
    for node, operand in found.uses:
        places.setdefault(node.path, set()).add(operand)

    def change(at: set[int]) -> Change:
        def changed(values: list[Any]) -> list[Any]:
            return [v * jnp.asarray(factor, v.dtype) if i in at else v for i, v in enumerate(values)]

        return changed

    return {path: change(at) for path, at in places.items()}


def _exchanged(order: Any, axis: int) -> Change:
    def change(values: list[Any]) -> list[Any]:
        return [jnp.take(value, order, axis=axis) for value in values]

    return change


def _row_axis(node: Node, rows: int) -> int | None:
    """The one axis of what a product makes that is as long as the batch."""
    axes = [axis for axis, size in enumerate(node.results[0].aval.shape) if size == rows]
    return axes[0] if len(axes) == 1 else None


def _share(whole: Leaves, rest: Leaves, found: _Penalty) -> float:
    """Of the gradients of all that the code is made of: norm of the penalties' over that of the rest's."""
    bits = reduce(or_, (node.results[0].grad for node in found.code), 0)
    leaves = [leaf for leaf in range(len(whole)) if bits >> leaf & 1]
    size = norm([rest[leaf] for leaf in leaves])
    return norm([whole[leaf] - rest[leaf] for leaf in leaves]) / size if size > 0 else math.nan


def _layers(program: Program, code: frozenset[Node]) -> tuple[str, ...]:
    owner = {id(site.eqn): layer.name for layer in program.layers for site in layer.sites}
    inside = [node for node in program.graph.nodes if node in code]
    return tuple(dict.fromkeys(owner[id(node.eqn)] for node in inside if id(node.eqn) in owner))


def _penalties(program: Program) -> _Penalty | None:
    loss = program.graph.outs[0]
    if len(summands(loss)) < 2:
        return None
    meetings = [each for each in data_meetings(program.body, len(program.leaves)) if each.outputs]
    compared = {each.path: each.outputs[0] for each in meetings}
    outputs = [n.operands[compared[n.path]] for n in program.graph.nodes if n.path in compared]

    def free(value: Quantity) -> bool:
        met = compared.keys() & {node.path for node in upstream([value])}
        return bool(value.grad) and not of_weights_alone(value) and not met

    if not outputs or free(loss):
        return None
    uses: list[tuple[Node, int]] = []
    code: set[Node] = set()
    maker: Node | None = None
    for each in summands(loss, free):
        if each.use is None or not free(each.value):
            continue
        products = _code(each.value, outputs)
        if products:
            uses.append((each.use[0], each.use[1]))
            code |= products
            maker = maker or each.at or each.use[0]
    return _Penalty(tuple(uses), maker, frozenset(code)) if maker is not None else None


def _code(value: Quantity, outputs: Sequence[Quantity]) -> set[Node]:
    """The products of which it is a sum over single elements, and that lead to a comparison; else none."""
    found: set[Node] = set()
    for part in summands(value):
        if not part.value.reads:
            continue
        products = elementwise_products(part.value)
        if products is None:
            return set()
        found |= products
    return found if any(leads_to(found, output) for output in outputs) else set()
