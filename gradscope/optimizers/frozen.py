"""Advice in the form of the user's file that trains nothing which the user's optimizer leaves as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradscope.load.message_text import listed
from gradscope.load.model.frameworks.table import assignment_of
from gradscope.load.problem import Problem
from gradscope.optimizers.feed import Feed
from gradscope.trace.program import Program

TRAINED, KEPT = "train", "keep"


def frozen_leaves(feed: Feed, optimizer: Any) -> tuple[bool, ...]:
    """For each weight, whether the optimizer's first update of it is zero, or its gradient as it is, where
    other weights are moved otherwise. Found with random gradients; none where the optimizer asks for more."""
    packed = feed.problem.packed

    def leaves(values: Sequence[Any]) -> Any:
        return packed(feed.tracer.tree(values))

    def unmoved(weights: list[Any], gradients: list[Any]) -> list[Any]:
        params, found = leaves(weights), leaves(gradients)
        transform = optax.with_extra_args_support(optimizer)
        updates, _ = transform.update(found, transform.init(params), params, value=1.0, grad=found)
        places = jax.tree.leaves(leaves(range(len(weights))))
        ordered = dict(zip(places, jax.tree.leaves(updates), strict=True))
        return [
            jnp.all(ordered[place] == 0) | jnp.all(ordered[place] == gradient)
            for place, gradient in enumerate(gradients)
        ]

    keys = jax.random.split(jax.random.key(0), len(feed.weights))
    gradients = [
        jax.random.normal(key, weight.shape, weight.dtype)
        for key, weight in zip(keys, feed.weights, strict=True)
    ]
    try:
        found = tuple(bool(each) for each in jax.jit(unmoved)(feed.weights, gradients))
    except Exception:  # the user's optimizer may ask for anything: nothing is known of it then
        return (False,) * len(feed.weights)
    return (False,) * len(found) if all(found) else found


def note(program: Program, frozen: Sequence[bool]) -> str:
    """What is kept as it is under every optimizer but the user's own; empty where nothing is."""
    names = [leaf.name for leaf, kept in zip(program.leaves, frozen, strict=False) if kept]
    if not names:
        return ""
    return (
        f"Your optimizer does not train {listed(names)}: every other optimizer leaves "
        f"{'it' if len(names) == 1 else 'them'} unchanged, too."
    )


def around(code: str, feed: Feed, frozen: Sequence[bool]) -> str:
    """`code` for the trained part only; where params are no dicts, with a remark in place of the labels."""
    if not any(frozen):
        return code
    labels = _labels(feed.problem.packed(feed.tracer.tree(list(frozen))))
    if labels is None:
        return f"{code}  # in the place of what trains now: keep the part that freezes the rest"
    return f"optax.multi_transform({{'{TRAINED}': {code}, '{KEPT}': optax.set_to_zero()}}, {labels!r})"


def assigned(code: str, problem: Problem) -> str:
    """The line that gives the user's file what `code` makes; a remark stays by itself."""
    if "  # " in code:
        return code
    return assignment_of(code, problem.optimizer_holder, problem.model)


def _labels(tree: Any) -> Any:
    """`keep` and `train` in the shortest dicts that tell them apart; `None` for another structure."""
    if tree is None or isinstance(tree, bool):
        return TRAINED if tree is False else KEPT
    if type(tree) is not dict or not all(isinstance(name, str) for name in tree):
        return None
    inner = {name: _labels(each) for name, each in tree.items()}
    if any(label is None for label in inner.values()):
        return None
    different = list(inner.values())
    same = isinstance(different[0], str) and all(label == different[0] for label in different)
    return different[0] if same else inner
