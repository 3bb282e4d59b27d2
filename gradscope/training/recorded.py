"""An optimizer that measures its own steps: for a training loop that is the user's, inside its jit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from gradscope.errors import GradscopeError
from gradscope.records.history import OF_PARAMETERS
from gradscope.trace.leaves import is_differentiated, path_name
from gradscope.training.optimizer import stepped, widened

AFTER_ZERO, AFTER_INFINITY = 2.0**30, 2.0**-40
"""Gains at which a gradient is measured whose squares were all 0, or not all finite: in float32 from 1e-28 to
1e10, and from 1e-7 to 1e31."""


class RecordedState(NamedTuple):
    """The state of an optimizer that `recorded` made: arrays alone, which any serializer of states stores."""

    inner: Any
    """That of the optimizer itself."""
    updates: Array
    """i32: so far. Not named `count`: by that name `optax.tree_utils.tree_get` finds the optimizer's own."""
    numbers: Array
    """f32[2 + 3 * layers]: of the last measured update its number and the norm of the gradient, then the root
    mean squares of gradient, weight after the update and update, each by layer."""
    layers: Array
    """u8[n]: the names of the layers, as JSON."""


def names_of_layers(stored: Any) -> tuple[str, ...]:
    """What `RecordedState.layers` says. Waits for the step that made it."""
    return tuple(json.loads(bytes(np.asarray(stored, np.uint8))))


def recorded(optimizer: Any, *, every: int = 1) -> optax.GradientTransformationExtraArgs:
    """`gradscope.recorded`: the same optimizer, which also measures each layer in its state.

    Wrap it around the whole optimizer: `optimizer = gradscope.recorded(optax.adamw(1e-3), every=10)`. Its
    updates are the same, bit for bit. The state holds the norm of the whole gradient, and of the largest
    parameter of each layer the root mean squares of gradient, values after the update, and what the update
    changed: of the last update whose number `every` divides. `gradscope.Recorder` writes them to a file.

    Raises `GradscopeError` where `update` is called without the params, which updates are measured against.
    """
    if every < 1:
        raise GradscopeError(f"every is {every}.", fix="Give a number of 1 or more.", slug="bad-option")
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> RecordedState:
        names = [group.name for group in _groups(params)]
        layers = jnp.asarray(np.frombuffer(json.dumps(names).encode(), np.uint8))
        numbers = jnp.full(2 + len(OF_PARAMETERS) * len(names), jnp.nan, jnp.float32)
        return RecordedState(inner.init(params), jnp.zeros((), jnp.int32), numbers, layers)

    def update(updates: Any, state: RecordedState, params: Any = None, **more: Any) -> tuple[Any, Any]:
        if params is None:
            raise GradscopeError(
                "The recorded optimizer got no params.",
                why="Updates are measured against them.",
                fix="Call `optimizer.update(grads, opt_state, params)`.",
                slug="bad-option",
            )
        wanted, after = inner.update(updates, state.inner, params, **more)

        # Without it XLA makes the updates once more for each number that is taken of them.
        made = jax.lax.optimization_barrier((updates, params, wanted))  # type: ignore[no-untyped-call]
        gradients, before, wanted = made
        numbers = _numbers(state, gradients, before, wanted)
        if every > 1:
            # Measuring costs less than asking: a branch keeps XLA from fusing what is around it.
            numbers = jnp.where(state.updates % every == 0, numbers, state.numbers)
        return wanted, RecordedState(after, state.updates + 1, numbers, state.layers)

    return optax.GradientTransformationExtraArgs(init, update)


@dataclass(frozen=True)
class _Group:
    """A layer: its leaves by their positions among all leaves of the params."""

    name: str
    leaves: tuple[int, ...]
    main: int
    """The largest."""


def _groups(params: Any) -> list[_Group]:
    groups: dict[str, list[tuple[int, Any]]] = {}
    leaves = jax.tree_util.tree_flatten_with_path(params, is_leaf=_is_none)[0]
    for position, (path, leaf) in enumerate(leaves):
        if is_differentiated(leaf):
            # NNX gives `init` its variables, and `update` what is in them.
            steps = path[:-1] if path and getattr(path[-1], "name", None) == "value" else path
            name = path_name(steps[:-1]) or path_name(steps) or "params"
            groups.setdefault(name, []).append((position, leaf))
    return [
        _Group(
            name,
            tuple(position for position, _ in members),
            max(members, key=lambda member: (jnp.size(member[1]), jnp.ndim(member[1])))[0],
        )
        for name, members in groups.items()
    ]


def _numbers(state: RecordedState, gradients: Any, params: Any, updates: Any) -> Array:
    """Traceable: the vector of `RecordedState.numbers`."""
    groups = _groups(params)
    trees = gradients, params, updates
    of_gradient, of_params, of_update = (jax.tree.leaves(tree, is_leaf=_is_none) for tree in trees)
    mains = [group.main for group in groups]
    after = [_stepped(of_params[main], of_update[main]) for main in mains]
    changes = [
        widened(jnp.asarray(new)) - widened(jnp.asarray(of_params[main]))
        for new, main in zip(after, mains, strict=True)
    ]
    gains = _gains(state.numbers[2 : 2 + len(groups)])
    gradient = [_root(of_gradient[main], gain) for main, gain in zip(mains, gains, strict=True)]
    beside = [
        _root(of_gradient[leaf], gain)
        for group, gain in zip(groups, gains, strict=True)
        for leaf in group.leaves
        if leaf != group.main
    ]
    rows = [gradient, list(map(_root, after)), list(map(_root, changes))]
    sizes = [math.sqrt(max(jnp.size(of_params[main]), 1)) for main in mains]
    means = [root / size for row in rows for root, size in zip(row, sizes, strict=True)]
    return jnp.stack([state.updates.astype(jnp.float32), _norm([*gradient, *beside]), *means])


def _gains(before: Array) -> Array:
    """Powers of two that the measurement before asks for, so that squares of a gradient stay in range however
    small or large it is; the first one is taken as it is."""
    usable = (before > 0) & jnp.isfinite(before)
    exponent = jnp.clip(jnp.round(jnp.log2(jnp.where(usable, before, 1.0))), -100, 100)
    lost = jnp.where(before == 0, AFTER_ZERO, jnp.where(jnp.isinf(before), AFTER_INFINITY, 1.0))
    return jnp.where(usable, jnp.exp2(-exponent), lost)


def _is_none(leaf: Any) -> bool:
    """Equinox has `None` for what is not trained: it counts, so that all trees have the same positions."""
    return leaf is None


def _stepped(weight: Any, update: Any) -> Array:
    weight = jnp.asarray(weight)
    return weight if update is None else stepped(weight, update)


def _root(leaf: Any, gain: Any = None) -> Array:
    """Of its square sum, taken at `gain`; NaN counts as infinite."""
    if leaf is None or not is_differentiated(leaf) or not jnp.size(leaf):
        return jnp.zeros((), jnp.float32)
    wide = widened(jnp.asarray(leaf))
    if gain is None:  # XLA on a CPU has a faster program for a square sum that nothing is multiplied into
        found = jnp.sqrt(jnp.sum(jnp.square(wide)))
    else:
        found = jnp.sqrt(jnp.sum(jnp.square(wide * gain))) / gain
    return jnp.where(jnp.isnan(found), jnp.inf, found).astype(jnp.float32)


def _norm(parts: Sequence[Array]) -> Array:
    if not parts:
        return jnp.zeros((), jnp.float32)
    stacked = jnp.stack(parts)
    top = jnp.max(stacked)
    scale = jnp.where((top > 0) & jnp.isfinite(top), top, 1.0)
    return scale * jnp.sqrt(jnp.sum(jnp.square(stacked / scale)))
