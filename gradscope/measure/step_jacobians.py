"""The recurrent Jacobian of a step at the values met: its spectral radius and largest singular value.

A state of a batch has one Jacobian for each example, on the diagonal of that of the whole. Whether that is so
is not taken for granted but tried: the blocks have to give the product of the whole with a random vector.
Small blocks are written out and handed to LAPACK; for what is larger a Krylov subspace gives the ends of the
spectrum (Arnoldi 1951), of which the largest converge first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from gradscope.records import StateJacobian

WRITTEN_OUT = 128
"""Rows of a block up to which its eigenvalues are all found: 0.05 s for one."""
ELEMENTS = 2**24
"""Of all blocks of one step, 128 MiB of float64."""
WORK = 2**24
"""Sum over the blocks of rows ** 3: half a second of eigenvalues; of more examples some are looked at."""
KRYLOV = 48
"""Products: the radius of a random tanh network of 512 units, four examples, came out within 0.5 %."""
AGREE = 1e-2
"""How well the blocks have to give the product, relative; a cast to bfloat16 inside the step costs 4e-3."""

Matrix = NDArray[np.float64]
Pull = Callable[[Sequence[Any], list[Array]], list[Array]]
"""The transposed Jacobian: from the inputs of the step and the cotangents of the states after it."""


class Shape(NamedTuple):
    """How the states of a memory lie in one vector for each example."""

    examples: int
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @property
    def rows(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes) // self.examples

    def split(self, flat: Any) -> list[Array]:
        """Cotangents of the states, from f[examples, rows]."""
        found, begin = [], 0
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            width = math.prod(shape) // self.examples
            found.append(flat[:, begin : begin + width].astype(dtype).reshape(shape))
            begin += width
        return found

    def joined(self, states: Sequence[Array]) -> Array:
        """f[examples, rows]"""
        wide = jnp.promote_types(self.dtypes[0], jnp.float32)
        return jnp.concatenate([each.reshape(self.examples, -1).astype(wide) for each in states], axis=1)


class StepJacobians:
    """Of one memory of a loop: compiled once, for all of its steps."""

    def __init__(self, pull: Pull) -> None:
        def product(flat: Array, values: Any, shape: Shape) -> Array:
            return shape.joined(pull(values, shape.split(flat)))

        def stretched(flat: Array, values: Any, shape: Shape) -> Array:
            pulled, push = jax.vjp(lambda given: product(given, values, shape), flat)
            (found,) = push(pulled)
            return jnp.asarray(found)

        def rows(basis: Array, values: Any, shape: Shape) -> Array:
            return jax.vmap(lambda row: product(row, values, shape))(basis)

        self._product = jax.jit(product, static_argnums=2)
        self._stretched = jax.jit(stretched, static_argnums=2)
        self._rows = jax.jit(rows, static_argnums=2)

    def __call__(self, step: int, values: Sequence[Any], states: Sequence[Any]) -> StateJacobian:
        """`states` are the memory's part of `values`, the inputs of the step."""
        blocks = self._blocks(values, states)
        if blocks is None:
            return self._about(step, values, _shape(states, 1))
        examples, found = blocks
        if not np.isfinite(found).all():
            return StateJacobian(step, math.nan, math.nan, examples, exact=True)
        radius = max(float(np.abs(np.linalg.eigvals(block)).max()) for block in found)
        stretch = max(float(np.linalg.svd(block, compute_uv=False)[0]) for block in found)
        return StateJacobian(step, radius, stretch, examples, exact=True)

    def _about(self, step: int, values: Sequence[Any], shape: Shape) -> StateJacobian:
        def applied(function: Callable[..., Any]) -> Callable[[Matrix], Matrix]:
            return lambda v: np.asarray(function(v[None], values, shape), np.float64)[0]

        radius, stretch = ritz(applied(self._product), shape.rows), None
        with suppress(Exception):  # a rule of the user's whose backward has no derivative itself
            stretch = ritz(applied(self._stretched), shape.rows) ** 0.5
        return StateJacobian(step, radius, stretch, None, exact=False)

    def _blocks(self, values: Sequence[Any], states: Sequence[Any]) -> tuple[int | None, Matrix] | None:
        """How many examples, and the Jacobians of some, [some, rows, rows]; `None` where too large."""
        leading = {each.shape[0] if each.ndim > 1 else 1 for each in states}
        for examples in sorted({*leading, 1}, reverse=True) if len(leading) == 1 else [1]:
            shape = _shape(states, examples)
            if shape.rows <= WRITTEN_OUT and examples * shape.rows**2 <= ELEMENTS:
                found = self._written_out(values, shape)
                if examples == 1 or self._is_whole(values, shape, found):
                    kept = max(1, min(examples, WORK // shape.rows**3))
                    chosen = np.unique(np.linspace(0, examples - 1, kept).round().astype(int))
                    return (len(chosen) if examples > 1 else None), found[chosen]
        return None

    def _written_out(self, values: Sequence[Any], shape: Shape) -> Matrix:
        """f64[examples, rows, rows]: a row of every block at once."""
        width = max(1, min(shape.rows, 2**20 // (shape.examples * shape.rows)))
        found = []
        for begin in range(0, shape.rows, width):
            units = np.eye(width, shape.rows, begin, np.float32)
            basis = np.broadcast_to(units[:, None], (width, shape.examples, shape.rows))
            found.append(np.asarray(self._rows(basis, values, shape), np.float64))
        return np.concatenate(found)[: shape.rows].swapaxes(0, 1)

    def _is_whole(self, values: Sequence[Any], shape: Shape, blocks: Matrix) -> bool:
        """No example's state reads that of another: the blocks are all there is."""
        drawn = np.random.default_rng(0).standard_normal((shape.examples, shape.rows)).astype(np.float32)
        found = np.asarray(self._product(drawn, values, shape), np.float64)
        expected = np.einsum("bji,bj->bi", blocks, drawn)
        return bool(np.linalg.norm(found - expected) <= AGREE * np.linalg.norm(expected))


def _shape(states: Sequence[Any], examples: int) -> Shape:
    return Shape(examples, tuple(each.shape for each in states), tuple(each.dtype for each in states))


def ritz(product: Callable[[Matrix], Matrix], size: int) -> float:
    """The largest absolute eigenvalue of a linear map, about: that of its part in a Krylov subspace."""
    count = min(KRYLOV, size)
    basis = np.zeros((count + 1, size))
    small = np.zeros((count + 1, count))
    drawn = np.random.default_rng(0).standard_normal(size)
    basis[0] = drawn / np.linalg.norm(drawn)
    for column in range(count):
        after = product(basis[column].astype(np.float32))
        for _ in range(2):  # once more, for what rounding left
            along = basis[: column + 1] @ after
            small[: column + 1, column] += along
            after = after - along @ basis[: column + 1]
        rest = float(np.linalg.norm(after))
        if not np.isfinite(rest):
            return rest
        if rest <= 1e-6 * np.abs(small).max(initial=1e-300):
            count = column + 1
            break
        small[column + 1, column] = rest
        basis[column + 1] = after / rest
    return float(np.abs(np.linalg.eigvals(small[:count, :count])).max(initial=0.0))
