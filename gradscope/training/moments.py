"""The moving averages of an optimizer, of the gradient and of its square: how fast they forget, by asking it.

It is given one small gradient and then zeros. An average of the gradient doubles with it, one of its square
becomes four times as large, and each then shrinks by its own decay rate at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradscope.load.model.optimizer_state import fresh_init
from gradscope.records import DecayRates
from gradscope.trace.spread import in_reach
from gradscope.training.optimizer import Leaves
from gradscope.training.parameter_groups import filled, striped
from gradscope.training.trainer import Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

NORM = 1e-6
"""Of the small gradient: what clips leaves it as it is."""
EXACT = 1e-3
"""Relative: quotients that differ by no more are the same."""
FORGETS = 0.01
"""A rate below it is no average that could be exchanged."""
LOOKED_AT = 4096
"""Elements of an array of the state, in whole rows."""
Pair = tuple[int, int]
"""Places among the leaves of the state: of an average of the gradient, and of that of its square."""


def decay_rates(made: Trainer, steps: int, batches: int) -> DecayRates | None:
    """Of the first pair that forgets the gradient more slowly than its square can bear, and what comes of the
    rates exchanged in all such pairs; `None` where there is none."""
    if not made.rule.own:
        return None
    pairs = {pair: rates for pair, rates in averages(made) if wrong(*rates)}
    if not pairs:
        return None
    first, second = rates = next(iter(pairs.values()))
    places = [pair for pair, each in pairs.items() if each == rates]
    found = DecayRates(first, second)
    if steps < USUAL_STEPS or made.restored or made.searches or second < FORGETS:
        return found
    rule = replace(made.rule, transform=_exchanged(made.rule.transform, places, first, second))
    other, count = Trainer(made.flow, rule, made.feed, made.weights), LONGER * steps
    ends = made.weights, made.unchanged(count), other.run(count).weights
    start, end, end_exchanged = (made.mean_loss(weights, batches)[0] for weights in ends)
    return replace(found, steps=count, start=start, end=end, end_exchanged=end_exchanged)


def wrong(first: float, second: float) -> bool:
    """Not below the root of the other, as the proofs of Adam ask for."""
    return first * first > second * (1 + EXACT)


def averages(made: Trainer) -> Iterator[tuple[Pair, tuple[float, float]]]:
    """Pairs of averages that shrink alike in all their elements, and their decay rates to 4 digits."""
    weights = filled(made.weights, 0.0)
    size = NORM / max(sum(weight.size for weight in weights), 1) ** 0.5
    once, twice = ([striped(weight, times * size) for weight in weights] for times in (1, 2))
    loss, fresh = jnp.zeros_like(made.gradients()[0]), made.fresh(weights)

    def after(state: Any, gradients: Leaves) -> Any:
        return made.asked(weights, gradients, state, loss)[1]

    one, two = after(fresh, once), after(fresh, twice)
    degrees = _quotients(two, one)
    later = after(one, weights)
    shrinks = _quotients(later, one)
    still = _quotients(after(later, weights), later)
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(one)[0]]
    steady = [
        a is not None and b is not None and abs(a - b) <= EXACT for a, b in zip(shrinks, still, strict=True)
    ]
    kinds: dict[int, list[int]] = {1: [], 2: []}
    for place, degree in enumerate(degrees):
        for power, found in kinds.items():
            if degree is not None and steady[place] and abs(degree / 2**power - 1) <= EXACT:
                found.append(place)
    squares: dict[Any, list[int]] = {}
    for second in kinds[2]:
        for near in _places(paths[second]):
            squares.setdefault(near, []).append(second)
    for first in kinds[1]:
        # Of the same parameter in one part of the state: `mu['w']` and `nu['w']`.
        for second in sorted({other for near in _places(paths[first]) for other in squares.get(near, ())}):
            rates = shrinks[first], shrinks[second]
            yield (first, second), (round(float(rates[0] or 0), 4), round(float(rates[1] or 0), 4))


def _quotients(states: Any, before: Any) -> list[float | None]:
    """Of each floating array, where all elements have the same one."""
    found: list[float | None] = []
    for a, b in zip(jax.tree.leaves(states), jax.tree.leaves(before), strict=True):
        if jnp.ndim(b) == 0 or not jnp.issubdtype(jnp.result_type(b), jnp.floating) or not jnp.size(b):
            found.append(None)
            continue
        with np.errstate(all="ignore"):
            quotient = _looked_at(a) / _looked_at(b)
        low, high = float(np.min(quotient)), float(np.max(quotient))
        found.append(low if np.isfinite([low, high]).all() and high - low <= EXACT else None)
    return found


def _looked_at(array: Any) -> Any:
    """On a CPU NumPy reads the rows where they lie."""
    whole = np.asarray(array) if in_reach([array]) else array
    return np.asarray(whole[: max(1, LOOKED_AT * len(whole) // whole.size)], np.float64)


def _places(path: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    """The path without each of its steps: two paths that differ in one step have one place in common."""
    return ((left_out, (*path[:left_out], *path[left_out + 1 :])) for left_out in range(len(path)))


def _exchanged(transform: Any, pairs: Sequence[Pair], first: float, second: float) -> Any:
    """The optimizer with the decay rates of these averages exchanged, whatever else it does.

    What its averages make of the gradient alone is told by a step from averages of 0. Before the real step
    they are set so that after it they are those of the other rates, times what its correction of their bias,
    by the rates that it has, leaves to be done.
    """
    inner = optax.with_extra_args_support(transform)

    def init(params: Any) -> Any:
        state = fresh_init(transform)(params)
        leaves = jax.tree.leaves(state)
        kept = [(jnp.zeros_like(leaves[i]), jnp.zeros_like(leaves[j])) for i, j in pairs]
        return state, kept, jnp.zeros((), jnp.float32)

    def update(updates: Any, state: Any, params: Any = None, **more: Any) -> tuple[Any, Any]:
        own, kept, count = state
        count = count + 1
        bias = (1 - first**count) / (1 - second**count)
        alone = jax.tree.leaves(inner.update(updates, _put(own, pairs, _zeros(kept)), params, **more)[1])
        others, before = [], []
        for (i, j), (mean, square) in zip(pairs, kept, strict=True):
            mean = second * mean + (1 - second) / (1 - first) * alone[i]
            square = first * square + (1 - first) / (1 - second) * alone[j]
            others.append((mean, square))
            before.append(((bias * mean - alone[i]) / first, (square / bias - alone[j]) / second))
        asked, own = inner.update(updates, _put(own, pairs, before), params, **more)
        return asked, (own, others, count)

    return optax.GradientTransformationExtraArgs(init, update)


def _zeros(kept: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, kept)


def _put(state: Any, pairs: Sequence[Pair], values: Sequence[tuple[Any, Any]]) -> Any:
    leaves, structure = jax.tree.flatten(state)
    for (i, j), (mean, square) in zip(pairs, values, strict=True):
        leaves[i], leaves[j] = mean.astype(leaves[i].dtype), square.astype(leaves[j].dtype)
    return jax.tree.unflatten(structure, leaves)
