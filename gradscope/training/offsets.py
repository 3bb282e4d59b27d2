"""Targets far from 0 that a program without a single bias is to meet, and the training with their mean taken
off: what a bias at the output would hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import ShortTraining, TriedOffset
from gradscope.records.training import OFF_CENTER
from gradscope.trace.domains.uses import arrays_of, uses_of
from gradscope.trace.graph import Node, Quantity, behind, upstream, viewed
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import PRODUCTS, VIEWS
from gradscope.training.how_many import steps_of_trial
from gradscope.training.scales import OddArray, odd_arrays
from gradscope.training.trainer import Modification, Trainer

_BESIDE = frozenset({"concatenate", "pad", "scatter", "scatter_add", "dynamic_update_slice"})
"""What may put a constant column beside the features, whose weights are a bias."""


def tried_offsets(
    program: Program, made: Trainer, record: ShortTraining, first: Inputs
) -> Iterator[TriedOffset]:
    """One for each such target; none where a parameter, or a constant, may add anything to an output."""
    count = steps_of_trial(program, record.steps)
    far = {each.name for each in record.standardized if not each.is_input and each.off_center > OFF_CENTER}
    if count is None or not far or not _only_multiplies(program) or _constant_feature(program, made, first):
        return
    batches = made.feed.used(count)
    for odd in odd_arrays(program, made.feed.drawn[:1], first):
        node = _compared(program, odd) if odd.name in far and not odd.is_input else None
        if node is None:
            continue
        centered = replace(odd, std=np.ones_like(odd.std))
        there = made.run(count, Modification(standardized=centered)).weights
        last = _last_product(program, node)
        yield TriedOffset(
            name=odd.name,
            source=None if last is None else source_of(last.eqn, last.calls),
            layer=None if last is None else program.layer_names.get(_site(program, last)),
            mean=float(np.ravel(odd.mean)[np.argmax(np.abs(np.ravel(odd.mean)))]),
            rms=odd.rms,
            off_center=odd.off_center,
            steps=count,
            start_without=made.mean_loss(made.weights, batches)[0],
            end_without=made.mean_loss(made.unchanged(count), batches)[0],
            start=made.mean_loss(made.weights, batches, centered)[0],
            end=made.mean_loss(there, batches, centered)[0],
        )


def _only_multiplies(program: Program) -> bool:
    """Whether every parameter is but a factor of something that depends on more than parameters, seen as such
    outside of loops and branches."""
    fed: set[int] = set()

    def varies(value: Quantity) -> bool:
        return id(value) in fed or (value.position is not None and value.position >= len(program.leaves))

    for node in program.graph.nodes:
        moving = [varies(each) for each in node.operands]
        if any(moving):
            fed.update(map(id, node.results))
        if node.name in VIEWS:
            continue
        if any(_is_leaf(each) for each in node.operands) and not (
            node.name in PRODUCTS | {"mul"} and any(moving)
        ):
            return False
        if node.name in _BESIDE and any(moving) and not all(moving):
            return False
    return True


def _is_leaf(value: Quantity) -> bool:
    leaf = behind(value, VIEWS)
    return leaf.node is None and leaf.position is not None and leaf.reads != 0


def _constant_feature(program: Program, made: Trainer, first: Inputs) -> bool:
    """Whether a feature of an array that weights multiply is one number in all examples, other than 0."""
    batch = made.feed.drawn[0]
    leaves = jax.tree.leaves(batch)
    for array in arrays_of(batch, first):
        value = jnp.asarray(leaves[array.index])
        if value.ndim > 1 and value.shape[0] > 1 and uses_of(program, array.place).is_input:
            rows = value.reshape(-1, value.shape[-1])
            if bool(jnp.any(jnp.all(rows == rows[0], axis=0) & (rows[0] != 0))):
                return True
    return False


def _compared(program: Program, odd: OddArray) -> Node | None:
    """The only operation on the target: a difference of it and an output."""
    place = odd.place + len(program.leaves)
    used = [
        node
        for node in program.graph.nodes
        if node.name not in VIEWS
        for each in node.operands
        if viewed(each).position == place
    ]
    node = used[0] if len(used) == 1 else None
    return node if node is not None and node.name == "sub" and any(v.grad for v in node.operands) else None


def _last_product(program: Program, node: Node) -> Node | None:
    """Of those with a parameter, on the way to the output."""
    above = upstream(node.operands)
    products = [each for each in program.graph.nodes if each in above and each.name in PRODUCTS]
    return next((each for each in reversed(products) if any(map(_is_leaf, each.operands))), None)


def _site(program: Program, node: Node) -> Any:
    return next((site.id for site in program.sites if site.eqn is node.eqn), None)
