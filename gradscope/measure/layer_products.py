"""Inner products of two gradients, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradscope.trace.program import Program

Floats = NDArray[np.float64]


class LayerProducts:
    """Of one program; layers in forward order, each of a stack by itself."""

    def __init__(self, program: Program) -> None:
        self._axes: dict[int, tuple[int, ...]] = {}
        self.names: list[str] = []
        self._places: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        for group in program.layers:
            self._axes.update(zip(group.leaves, group.axes, strict=True))
            for row in group.rows():
                self.names.append(row.name)
                self._places.append((group.leaves, row.index))

    def __call__(self, one: Sequence[Any], other: Sequence[Any]) -> Floats:
        """f64[layers]; the leaves are those of the program."""
        pairs = enumerate(zip(one, other, strict=True))
        found = jax.device_get([_products(a, b, self._axes.get(leaf, ())) for leaf, (a, b) in pairs])
        return np.array(
            [sum(float(found[leaf][index]) for leaf in leaves) for leaves, index in self._places], np.float64
        )


@partial(jax.jit, static_argnums=2)
def _products(a: Any, b: Any, axes: tuple[int, ...]) -> Any:
    """Summed over all axes but these, which come first."""
    each = jnp.real(a * jnp.conj(b))
    return jnp.sum(jnp.moveaxis(each, axes, range(len(axes))), axis=tuple(range(len(axes), each.ndim)))
