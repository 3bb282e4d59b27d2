"""The largest eigenvalue of the diagonal block of each layer: what its parameters alone bend the loss by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.landscape.lanczos import Lanczos
from gradscope.landscape.pace import Pace
from gradscope.landscape.products import Products
from gradscope.landscape.spectrum import End
from gradscope.records import Eigenvalue, Source
from gradscope.trace.program import Program

MOST_STEPS = 20
FEWEST_STEPS = 3
FOUND = 0.02
RANDOM = 0.3
"""Of the start, where the vector of the largest eigenvalue of all is the rest."""


@dataclass(frozen=True)
class LayerPlaces:
    """A layer, and which numbers of a vector are its own."""

    name: str
    source: Source | None
    places: Any
    """i64[size]"""

    @property
    def size(self) -> int:
        return int(self.places.size)

    def share(self, vector: Any) -> float:
        """Of the square of a NumPy vector of length 1."""
        return float(np.sum(np.square(vector[self.places], dtype=np.float64)))


def parts_of(program: Program, products: Products) -> list[LayerPlaces]:
    """The layers in forward order, those that do not move left out."""
    slices = dict(products.slices())
    found = []
    for group, source in zip(program.layers, program.sources, strict=True):
        for row in group.rows():
            places = [
                np.arange(slices[leaf].start, slices[leaf].stop).reshape(program.leaves[leaf].shape)[
                    _index(axes, row.index)
                ]
                for leaf, axes in zip(group.leaves, group.axes, strict=True)
                if leaf in slices
            ]
            if places:
                found.append(
                    LayerPlaces(row.name, source, np.concatenate([np.ravel(each) for each in places]))
                )
    return found


def _index(axes: tuple[int, ...], places: tuple[int, ...]) -> tuple[Any, ...]:
    at: list[Any] = [slice(None)] * (max(axes, default=-1) + 1)
    for axis, place in zip(axes, places, strict=True):
        at[axis] = place
    return tuple(at)


def sharpness(
    products: Products, parts: Sequence[LayerPlaces], top: End | None, draws: np.random.Generator, pace: Pace
) -> Iterator[tuple[int, Eigenvalue]]:
    """The place of a part and what was found of it; those that have most of the largest eigenvalue first."""
    vector = None if top is None else np.asarray(top.vector)
    shares = [0.0 if vector is None else part.share(vector) for part in parts]
    for place in sorted(range(len(parts)), key=lambda place: -shares[place]):
        part = parts[place]
        if not pace.has_time(min(FEWEST_STEPS, part.size)):
            return
        found = _largest(products, part, vector, draws, pace)
        if found is not None:
            yield place, found


def _largest(
    products: Products, part: LayerPlaces, top: Any, draws: np.random.Generator, pace: Pace
) -> Eigenvalue | None:
    """Vectors are as long as ever, and zero outside of the layer: nothing is compiled for its shape."""
    inside = np.zeros(products.size)
    inside[part.places] = 1
    mask = jnp.asarray(inside, products.dtype)

    def product(vector: Array) -> Array:
        return products(vector) * mask

    start = inside
    start[part.places] = draws.standard_normal(part.size)
    start /= np.linalg.norm(start)
    if top is not None:
        length = float(np.linalg.norm(top[part.places]))
        start *= RANDOM
        start[part.places] += top[part.places] / length if length else 0.0
    run = Lanczos(product, jnp.asarray(start, products.dtype), part.size)
    value = error = 0.0
    found = False
    while not found and not run.ended and run.steps < MOST_STEPS:
        if run.steps >= FEWEST_STEPS and not pace.has_time():
            break
        run.step()
        if not run.finite:
            return None
        ritz = run.ritz()
        value, error = float(ritz.values[-1]), float(ritz.errors[-1])
        found = run.steps > 1 and error <= FOUND * abs(value)
    return Eigenvalue(value, error, found or run.ended)
