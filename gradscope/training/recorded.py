"""An optimizer that measures its own steps: for a training loop that is the user's, inside its jit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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


class RecordedState(NamedTuple):
    """The state of an optimizer that `recorded` made: arrays alone, which any serializer of states stores."""

    inner: Any
    """That of the optimizer itself."""
    count: Array  # type: ignore[assignment]  # of a tuple, as in the states of optax
    """i32: updates so far."""
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

        def measured() -> Array:
            return _numbers(state, updates, params, wanted)

        numbers = (
            measured()
            if every == 1
            else jax.lax.cond(state.count % every == 0, measured, lambda: state.numbers)
        )
        return wanted, RecordedState(after, state.count + 1, numbers, state.layers)

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
    rows = [[of_gradient[main] for main in mains], after, changes]
    beside = [[of_gradient[i] for i in group.leaves if i != group.main] for group in groups]

    def taken(rms: Callable[[Any, Array], Array]) -> Array:
        before = iter(state.numbers[2:])
        found = [[rms(leaf, next(before)) for leaf in row] for row in rows]
        whole = [value * _root(leaf) for value, leaf in zip(found[0], rows[0], strict=True)]
        for place, leaves in enumerate(beside):
            whole += [rms(leaf, state.numbers[2 + place]) * _root(leaf) for leaf in leaves]
        return jnp.stack([state.count.astype(jnp.float32), _norm(whole), *(v for row in found for v in row)])

    first = jnp.isnan(state.numbers[1])
    found: Array = jax.lax.cond(first, partial(taken, _first_rms), partial(taken, _next_rms))
    return found


def _is_none(leaf: Any) -> bool:
    """Equinox has `None` for what is not trained: it counts, so that all trees have the same positions."""
    return leaf is None


def _is_floating(leaf: Any) -> bool:
    return leaf is not None and is_differentiated(leaf)


def _stepped(weight: Any, update: Any) -> Array:
    weight = jnp.asarray(weight)
    return weight if update is None else stepped(weight, update)


def _root(leaf: Any) -> float:
    return math.sqrt(jnp.size(leaf)) if _is_floating(leaf) else 0.0


def _first_rms(leaf: Any, before: Array) -> Array:
    """At the gain that its own largest element asks for: two walks over memory."""
    return _rms_at(
        leaf, jnp.max(jnp.abs(widened(jnp.asarray(leaf))), initial=0.0) if _is_floating(leaf) else before
    )


def _next_rms(leaf: Any, before: Array) -> Array:
    """At the gain that the measurement before asks for: one walk."""
    return _rms_at(leaf, before)


def _rms_at(leaf: Any, size: Array) -> Array:
    """Squares are taken of the leaf over `size`, so that none leaves the range; NaN counts as infinite."""
    if not _is_floating(leaf) or not jnp.size(leaf):
        return jnp.zeros((), jnp.float32)
    usable = (size > 0) & jnp.isfinite(size)
    scale = jnp.where(usable, jnp.exp2(jnp.round(jnp.log2(jnp.where(usable, size, 1.0)))), 1.0)
    found = jnp.sqrt(jnp.mean(jnp.square(widened(jnp.asarray(leaf)) * (1 / scale)))) * scale
    return jnp.where(jnp.isnan(found), jnp.inf, found).astype(jnp.float32)


def _norm(parts: Sequence[Array]) -> Array:
    if not parts:
        return jnp.zeros((), jnp.float32)
    stacked = jnp.stack(parts)
    top = jnp.max(stacked)
    scale = jnp.where((top > 0) & jnp.isfinite(top), top, 1.0)
    return scale * jnp.sqrt(jnp.sum(jnp.square(stacked / scale)))
