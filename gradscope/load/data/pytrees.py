"""Batches from loaders as pytrees of arrays: JAX knows neither lists of numbers nor foreign mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError


def as_pytree(batch: Any, what: str) -> Any:
    """`batch` with an array for each list of numbers (rows of Hugging Face), and plain dicts.

    JAX would take a list for as many leaves as it has numbers. Text has no dtype, and neither has a list:
    its fractions become the floats that JAX uses.
    """

    def one(path: Any, node: Any) -> Any:
        if _is_foreign_mapping(node):
            return as_pytree(dict(node), f"{what}{jax.tree_util.keystr(path)}")
        return _array(node, f"{what}{jax.tree_util.keystr(path)}") if isinstance(node, list) else node

    return jax.tree_util.tree_map_with_path(one, batch, is_leaf=lambda node: _is_numbers(node))


def _is_foreign_mapping(node: Any) -> bool:
    """`BatchEncoding` of transformers, a `UserDict`: a leaf to JAX."""
    return isinstance(node, Mapping) and jax.tree_util.all_leaves([node])


def _is_numbers(node: Any) -> bool:
    """A list, not empty, of numbers, or of such lists."""
    if not isinstance(node, list) or not node:
        return False
    return all(isinstance(item, bool | int | float) or _is_numbers(item) for item in node)


def _array(numbers: list[Any], name: str) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(numbers)
    except ValueError:
        raise GradscopeError(
            f"{name} holds lists of different length.",
            why="An array has rows of one length.",
            fix="Pad them to one length.",
            slug="not-numeric",
        ) from None
    return array.astype(jax.dtypes.canonicalize_dtype(np.float64)) if array.dtype == np.float64 else array
