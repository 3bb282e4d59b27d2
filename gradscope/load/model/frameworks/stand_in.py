"""Finds the arguments of a model by running the loss with a stand-in for params, up to the first call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

TRAINING_FLAGS = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "eval": False,
    "use_running_average": False,
    "inference": False,
}


class Reached(BaseException):
    """Stops a loss where its model is called. No `Exception`: the user's code might catch it."""

    def __init__(self, found: Any) -> None:
        self.found = found


def concrete(arguments: Any) -> Any:
    """The captured arguments as arrays: ones where only the shape is known.

    The initial values of parameters depend on shapes; a model that reads values would fail under `jit` too.
    """
    return jax.tree_util.tree_map(_ones, arguments)


def _ones(leaf: Any) -> Any:
    if not isinstance(leaf, jax.core.Tracer):
        return leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), leaf.shape)
    return jnp.ones(leaf.shape, leaf.dtype)


def compiled(function: Callable[..., Any], key: Any, arguments: Any) -> Any:
    """`function(key, arguments)` in one program: op by op it would be compiled op by op.

    Only arrays are traced: flags and numbers of Python stay what they are.
    """
    leaves, structure = jax.tree_util.tree_flatten(arguments)
    traced = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray)}

    def run(key: Any, traced: Any) -> Any:
        filled = [traced.get(i, leaf) for i, leaf in enumerate(leaves)]
        return function(key, jax.tree_util.tree_unflatten(structure, filled))

    return jax.jit(run)(key, traced)


def training_flags(function: Any) -> dict[str, bool]:
    """The flags in the signature of a model's call that select training, with their values."""
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: value for name, value in TRAINING_FLAGS.items() if name in names}
