"""Weights and data of 16 bits as float32: second derivatives of a rounded loss are mostly rounding."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gradscope.trace.leaves import is_array


def widened(tree: Any) -> Any:
    """Floating leaves are float32 at least."""
    return jax.tree.map(_wide, tree)


def narrow(tree: Any) -> tuple[str, ...]:
    """The dtypes of leaves that `widened` changes, by name."""
    return tuple(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(tree) if _is_narrow(leaf)}))


def _is_narrow(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    floating = is_array(leaf) and dtype is not None and jnp.issubdtype(dtype, jnp.floating)
    return bool(floating and jnp.dtype(dtype).itemsize < 4)


def _wide(leaf: Any) -> Any:
    return jnp.asarray(leaf, jnp.float32) if _is_narrow(leaf) else leaf
