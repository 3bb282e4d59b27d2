"""Several arrays as one vector."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array


class Moving:
    """The leaves of a program that move, in order, as one vector f[size]."""

    def __init__(self, weights: Sequence[Any], places: Collection[int]) -> None:
        self.places = sorted(places)
        self._shapes = [(weights[place].shape, weights[place].dtype) for place in self.places]
        self.sizes = [int(weights[place].size) for place in self.places]
        self.dtype = jnp.result_type(*(weights[place].dtype for place in self.places))

    @property
    def size(self) -> int:
        return sum(self.sizes)

    def slices(self) -> list[tuple[int, slice]]:
        """By leaf of the program: where it lies in a vector."""
        ends = np.cumsum([0, *self.sizes])
        return [(leaf, slice(int(ends[i]), int(ends[i + 1]))) for i, leaf in enumerate(self.places)]

    def of(self, weights: Sequence[Any]) -> list[Any]:
        return [weights[place] for place in self.places]

    def put(self, weights: Sequence[Any], own: Sequence[Any]) -> list[Any]:
        """All leaves, with these in the place of those that move."""
        found = list(weights)
        for place, leaf in zip(self.places, own, strict=True):
            found[place] = leaf
        return found

    def parts(self, vector: Array) -> list[Array]:
        """In the shapes and dtypes of the leaves; traceable."""
        parts = jnp.split(vector, np.cumsum(self.sizes)[:-1])
        return [
            part.reshape(shape).astype(dtype)
            for part, (shape, dtype) in zip(parts, self._shapes, strict=True)
        ]

    def flat(self, leaves: Sequence[Any]) -> Array:
        """Those of the leaves that move as a vector; traceable."""
        return jnp.concatenate([jnp.ravel(leaf).astype(self.dtype) for leaf in leaves])
