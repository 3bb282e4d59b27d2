"""Inner products of several gradients, by leaf and by the layers stacked in it, and their cosines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.trace.program import Program
from gradscope.trace.statistics import Floats
from gradscope.training.optimizer import Leaves


def products_of(program: Program, gradients: Sequence[Leaves]) -> list[Array]:
    """Traceable: by leaf f[stack..., gradients, gradients], in float32 at least."""
    stacks = {
        leaf: axes for group in program.layers for leaf, axes in zip(group.leaves, group.axes, strict=True)
    }
    return [
        _products([each[leaf] for each in gradients], stacks.get(leaf, ()))
        for leaf in range(len(program.leaves))
    ]


def _products(gradients: list[Array], axes: tuple[int, ...]) -> Array:
    shape = [gradients[0].shape[axis] for axis in axes]
    wide = jnp.promote_types(gradients[0].dtype, jnp.float32)
    rows = [
        jnp.reshape(jnp.moveaxis(each, axes, range(len(axes))), (*shape, -1)).astype(wide)
        for each in gradients
    ]
    parts = jnp.stack(rows, len(shape))
    return jnp.einsum("...id,...jd->...ij", parts, parts)


def cosine(products: Sequence[Floats], one: int, other: int) -> float | None:
    """Of two of the gradients, over leaves together; `None` where one of them is 0 or not finite."""
    if not products:
        return None
    total = np.sum([each.reshape(-1, *each.shape[-2:]).sum(0) for each in products], axis=0)
    size = math.sqrt(total[one, one]) * math.sqrt(total[other, other])
    return float(total[one, other]) / size if size > 0 and math.isfinite(size) else None
