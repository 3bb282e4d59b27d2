"""Lanczos tridiagonalization with full reorthogonalization, one product at a time.

Each product of a large network takes as long as a training step or more: it has to stop as soon as the
numbers are there, at a limit of time, or at Ctrl-C, and give what is known by then. That is why it is
written here; libraries run a number of products that is fixed beforehand inside one program.
Source: Golub and Van Loan, *Matrix Computations*, section 10.3; the residual is Parlett 1980, section 13.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Product = Callable[[Array], Array]
CHUNK = 8
"""Vectors of the basis that lie in one array."""
ENDED = 100.0
"""Times the spacing of numbers: what is left of a vector below it is rounding."""


@dataclass(frozen=True)
class Ritz:
    """What a number of steps know of the eigenvalues, ascending."""

    values: Floats
    errors: Floats
    """Norms of the residuals."""
    weights: Floats
    """Share of the square of the start that lies along each vector: the nodes of a Gauss quadrature."""
    coordinates: Floats
    """Of the vectors in the basis, by column."""


class Lanczos:
    """From one start vector; `step` is called as often as is wanted."""

    def __init__(self, product: Product, start: Array, dimensions: int | None = None) -> None:
        """`dimensions` of the space in which the start and all products lie, by default those of a vector."""
        self._product, self._dimensions = product, dimensions or start.size
        self._chunks: list[Array] = []
        self._next: Array = start / jnp.linalg.norm(start)
        self.diagonal: list[float] = []
        self.beside: list[float] = []
        """Norm of what each step left over, the last one included."""
        self.ended = False
        """No further direction can be reached from the start: what is known is exact, but for rounding."""

    def step(self) -> None:
        at = len(self.diagonal)
        if at % CHUNK == 0:
            self._chunks.append(jnp.zeros((CHUNK, self._next.size), self._next.dtype))
        self._chunks[-1] = _put(self._chunks[-1], self._next, at % CHUNK)
        rest = self._product(self._next)
        along = 0.0
        for _ in range(2):  # twice is enough (Kahan, in Parlett 1980, section 6.9)
            for number, chunk in enumerate(self._chunks):
                rest, parts = _without(chunk, rest)
                if number == at // CHUNK:
                    along += float(parts[at % CHUNK])
        norm = float(jnp.linalg.norm(rest))
        self.diagonal.append(along)
        self.beside.append(norm)
        size = max(map(abs, [*self.diagonal, *self.beside]))
        spacing = float(jnp.finfo(rest.dtype).eps)  # type: ignore[no-untyped-call]
        if at + 1 == self._dimensions or norm <= ENDED * spacing * size:
            self.ended = True
        else:
            self._next = rest / norm

    @property
    def steps(self) -> int:
        return len(self.diagonal)

    @property
    def finite(self) -> bool:
        return bool(np.isfinite([*self.diagonal, *self.beside]).all())

    def ritz(self) -> Ritz:
        off = self.beside[:-1]
        matrix = np.diag(self.diagonal) + np.diag(off, 1) + np.diag(off, -1)
        values, vectors = np.linalg.eigh(matrix)
        return Ritz(values, np.abs(self.beside[-1] * vectors[-1]), vectors[0] ** 2, vectors)

    def vector(self, coordinates: Floats) -> Array:
        """The combination of the basis, of length 1."""
        padded = np.zeros(len(self._chunks) * CHUNK)
        padded[: coordinates.size] = coordinates
        parts = padded.reshape(-1, CHUNK)
        found: Any = sum(
            _combined(chunk, jnp.asarray(part, chunk.dtype))
            for chunk, part in zip(self._chunks, parts, strict=True)
        )
        return found / jnp.linalg.norm(found)  # type: ignore[no-any-return]


_exact = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


@partial(jax.jit, donate_argnums=0)
def _put(chunk: Array, vector: Array, row: Any) -> Array:
    return lax.dynamic_update_slice(chunk, vector[None], (row, 0))


@jax.jit
def _without(chunk: Array, vector: Array) -> tuple[Array, Array]:
    """A vector without its parts along the rows, and these."""
    parts = _exact(chunk, vector)
    return vector - _exact(parts, chunk), parts


@jax.jit
def _combined(chunk: Array, parts: Array) -> Array:
    return _exact(parts, chunk)
