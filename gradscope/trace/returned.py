"""What the user's loss returned: a real scalar, or an error that shows what it is instead."""

from __future__ import annotations

from itertools import dropwhile
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from gradscope.errors import GradscopeError


def arrays(aux: Any) -> list[Any]:
    return [leaf for leaf in jax.tree_util.tree_leaves(aux) if isinstance(leaf, jax.Array)]


def names(aux: Any) -> tuple[str, ...]:
    """Of the same arrays, by their keys: `losses.depth`. Places in a tuple in front of the first key are left
    out: what a loss returns beside its value is put together so. Empty where there is no key."""
    return tuple(
        jax.tree_util.keystr(tuple(dropwhile(_is_place, path)), simple=True, separator=".")
        for path, leaf in jax.tree_util.tree_leaves_with_path(aux)
        if isinstance(leaf, jax.Array)
    )


def _is_place(key: Any) -> bool:
    return isinstance(key, jax.tree_util.SequenceKey)


def scalar(value: Any, name: str) -> Array:
    """The loss as a real scalar, or an error that shows what was returned instead."""
    numeric = getattr(getattr(value, "dtype", None), "kind", "O") not in "OUSMm"
    if not isinstance(value, jax.Array | float | int) and not numeric:
        forgotten = value is None
        raise GradscopeError(
            f"{name} returned {type(value).__name__}, which is no number.",
            why="The function ends without `return`." if forgotten else "The gradient is of one real number.",
            fix=f"Let {name} return a scalar, or (scalar, aux).",
            slug="loss-not-scalar",
        )
    array = jnp.asarray(value)
    if array.shape != ():
        hint = "jnp.mean(...)" if array.ndim else ""
        raise GradscopeError(
            f"{name} returned an array of shape {array.shape}, not a scalar.",
            why="The gradient is that of one number; a loss per example has to be averaged or summed.",
            fix=f"Return {hint} of it, or (scalar, aux).",
            slug="loss-not-scalar",
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        kind = "complex" if jnp.issubdtype(array.dtype, jnp.complexfloating) else "not floating"
        raise GradscopeError(
            f"{name} returned a scalar of dtype {array.dtype}, which is {kind}.",
            why="Only a real floating loss can be lowered by gradients.",
            fix="Return its real part or its absolute value."
            if kind == "complex"
            else "Compute it in floats.",
            slug="loss-not-floating",
        )
    return array
