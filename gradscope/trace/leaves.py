"""Names of the parameter leaves, as the user writes them, and which leaves are differentiated."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.load.model.frameworks.base import Kinds


@dataclass(frozen=True)
class Leaf:
    """One floating leaf of the params pytree."""

    name: str
    """`encoder.layers[3].w`; `params` where the params are a single array."""
    parent: str
    """The name less its last step; empty at the root."""
    shape: tuple[int, ...]
    dtype: str
    kind: str | None = None
    """Class of the module that owns it; `None` where the params are no model object."""
    path: tuple[str, ...] = ()
    """The names of all that it lies in, from the outermost, and its own: `encoder`, `encoder.layers`, ..."""

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Split:
    """A pytree cut into what is traced as an argument and what stays Python."""

    structure: Any
    traced: dict[int, Any]
    static: dict[int, Any]

    def join(self, traced: Sequence[Any]) -> Any:
        leaves = {**self.static, **dict(zip(self.traced, traced, strict=True))}
        return jax.tree_util.tree_unflatten(self.structure, [leaves[i] for i in range(len(leaves))])


def split(tree: Any) -> Split:
    """Arrays are traced; Python integers, booleans and what is no number stay as they are.

    A Python `int` in params (`{"heads": 4}`) is a setting of the program, which may shape arrays by it.
    """
    leaves, structure = jax.tree_util.tree_flatten(tree)
    traced = {i: leaf for i, leaf in enumerate(leaves) if is_array(leaf)}
    static = {i: leaf for i, leaf in enumerate(leaves) if i not in traced}
    return Split(structure, traced, static)


def is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float | complex | jax.ShapeDtypeStruct)


def is_differentiated(leaf: Any) -> bool:
    return is_array(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def leaves_of(params: Any, kinds: Kinds | None = None) -> dict[int, Leaf]:
    """The differentiated leaves by their position among all leaves; `kinds` are those of `Problem`."""
    found = {}
    for position, (path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(params)[0]):
        if is_differentiated(leaf):
            dtype = str(jnp.result_type(leaf))
            name, parent = path_name(path) or "params", path_name(path[:-1])
            found[position] = Leaf(
                name, parent, np.shape(leaf), dtype, _owner(path, kinds or {}), _ways(path)
            )
    return found


def _ways(path: Sequence[Any]) -> tuple[str, ...]:
    """The name after each step; Haiku has several in one key, `encoder/linear`."""
    names = [path_name(path[:end]) for end in range(len(path) + 1)]
    found: list[str] = []
    for before, after in itertools.pairwise(names):
        found += [after[:i] for i in range(len(before) + 1, len(after)) if after[i] == "/"]
        found.append(after)
    return tuple(found)


def _owner(path: Sequence[Any], kinds: Kinds) -> str | None:
    """The class of the nearest module around a leaf."""
    steps = tuple(str(getattr(step, "key", step)) for step in path)
    around = (steps[:end] for end in range(len(steps) - 1, -1, -1))
    return next((kinds[each] for each in around if each in kinds), None)


_AMBIGUOUS = re.compile(r"[.\[\]\s]|^\d*$")
"""Keys that would read as something else without quotes."""


def complex_leaves(params: Any) -> list[str]:
    """Names of the leaves that stay as they are because a gradient step is defined for real ones only."""
    found = jax.tree_util.tree_flatten_with_path(params)[0]
    return [
        path_name(path)
        for path, leaf in found
        if is_array(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating)
    ]


def path_name(path: Sequence[Any]) -> str:
    """A path as code: keys and attributes with dots, positions in brackets."""
    name = ""
    for step in path:
        key = getattr(step, "key", getattr(step, "name", None))
        if isinstance(key, str) and not _AMBIGUOUS.search(key):
            name += f".{key}" if name else key
        elif isinstance(key, str):
            name += f"[{key!r}]"
        else:
            index = getattr(step, "idx", key)
            name += f"[{index if index is not None else step}]"
    return name


def norm(arrays: Iterable[Any]) -> float:
    """Euclidean norm of all their elements together, in float64."""
    with np.errstate(all="ignore"):
        return math.sqrt(sum(float(np.sum(np.square(np.asarray(each, np.float64)))) for each in arrays))
