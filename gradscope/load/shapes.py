"""Problems of shapes alone: parameters that are too large to be made here, and need not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError

_SUFFICE: ContextVar[bool] = ContextVar("shapes suffice", default=False)


@contextmanager
def shapes_suffice(suffice: bool = True) -> Iterator[None]:
    """Within it the shape of an array may stand for the array, and what makes parameters is not run."""
    token = _SUFFICE.set(suffice)
    try:
        yield
    finally:
        _SUFFICE.reset(token)


def is_shape(leaf: Any) -> bool:
    """Whether it stands for an array here."""
    return _SUFFICE.get() and isinstance(leaf, jax.ShapeDtypeStruct)


def made_by_shape(make: Callable[[], Any], name: str) -> Any:
    """What `make` gives: where shapes suffice, the shapes of it."""
    if not _SUFFICE.get():
        return make()
    try:
        return jax.eval_shape(make)
    except TypeError as error:
        if "JAX type" not in str(error):
            raise
        raise GradscopeError(
            f"{name} gives an object whose shapes JAX cannot tell.",
            why="With --shapes it is traced, and what it returns has to be a pytree of arrays.",
            fix="Give the shapes in the file: `model = nnx.eval_shape(lambda: Net(nnx.Rngs(0)))` with Flax "
            "NNX, `eqx.filter_eval_shape` with Equinox, or `params = jax.eval_shape(init, key)`.",
            slug="not-numeric",
        ) from error


def evaluated(function: Callable[..., Any], *trees: Any) -> None:
    """Trace a function of trees whose leaves may be shapes; leaves that are no arrays stay as they are."""
    leaves, structure = jax.tree.flatten(trees)
    shapes = [leaf for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct)]

    def run(given: list[Any]) -> Any:
        values = iter(given)
        filled = [next(values) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf for leaf in leaves]
        return function(*jax.tree.unflatten(structure, filled))

    jax.eval_shape(run, shapes)


def with_values(tree: Any) -> Any:
    """Zeros, or keys, in the place of shapes: for what is small beside the parameters, and is no input of the
    program, as the running statistics and the random streams of a module."""
    return jax.tree.map(lambda leaf: _value(leaf) if is_shape(leaf) else leaf, tree)


def _value(shape: Any) -> Any:
    if not jax.numpy.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.numpy.zeros(shape.shape, shape.dtype)
    return jax.random.split(jax.random.key(0), shape.shape) if shape.shape else jax.random.key(0)


class ShapesAlone:
    """Arrays without their values, where they would lie."""

    def params(self, tree: Any) -> Any:
        return jax.tree.map(_shape_of, tree)

    def batch(self, tree: Any) -> Any:
        return jax.tree.map(_shape_of, tree)


def _shape_of(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        return jax.eval_shape(lambda: jax.numpy.asarray(leaf))
    if not isinstance(leaf, jax.Array):
        return leaf
    spread = len(leaf.sharding.device_set) > 1
    sharding = leaf.sharding if spread else None
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # type: ignore[no-untyped-call]
