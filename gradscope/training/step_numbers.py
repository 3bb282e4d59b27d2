"""Ten numbers of what a step does to a leaf: sizes of gradient and update, their product, what arrived."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradscope.trace.spread import in_reach
from gradscope.training.optimizer import widened, widened_dtype

Floats = NDArray[np.float64]
(UPDATE_MAX, GRADIENT_MAX, UPDATE, GRADIENT, UPHILL, WANTED, ARRIVED, ASKED, UNCHANGED, RAW) = range(10)
"""Places of the numbers. Sums of squares and products are those of the update over its largest element and of
the gradient over its own; `WANTED` and those after it count only elements that have a gradient: what decay
does to the others is another matter."""
NUMBERS = 10

PIECE = 2**15
"""Elements that are reduced at once: what is made of them on the way stays in the processor's cache."""


def numbers_of_step(
    gradients: Sequence[Any], updates: Sequence[Any], before: Sequence[Any], after: Sequence[Any]
) -> list[Any]:
    """By leaf, the numbers of one step; on a CPU NumPy reads the arrays where they lie."""
    leaves = zip(gradients, updates, before, after, strict=True)
    with np.errstate(all="ignore"):
        return [
            _by_pieces(*map(np.asarray, arrays)) if in_reach(arrays) else _on_device(*arrays)
            for arrays in leaves
        ]


def numbers_of_updates(gradients: Sequence[Any], updates: Sequence[Any]) -> Floats:
    """By leaf, those of an update that no weight has met."""
    return np.asarray(jax.device_get(numbers_of_step(gradients, updates, gradients, gradients)), np.float64)


def cosine_of(row: Floats) -> float | None:
    """Of update and gradient; `None` where one of them is 0 or not finite."""
    size = float(row[UPDATE] * row[GRADIENT])
    if not (math.isfinite(size) and size > 0 and math.isfinite(row[UPHILL])):
        return None
    return float(row[UPHILL]) / math.sqrt(size)


def together(rows: Floats) -> Floats:
    """The numbers of several leaves as of one; of the sums those that `cosine_of` reads alone."""
    with np.errstate(all="ignore"):
        updates, gradients = (np.where(each > 0, each, 1.0) for each in rows[:, :2].T)
        row = np.full(NUMBERS, np.nan)
        row[UPDATE], row[GRADIENT] = rows[:, UPDATE] @ updates**2, rows[:, GRADIENT] @ gradients**2
        row[UPHILL] = rows[:, UPHILL] @ (updates * gradients)
    return row


def _by_pieces(*arrays: Any) -> Floats:
    flat = [np.ravel(each) for each in arrays]
    g, u = flat[:2]
    u_max, g_max = (_largest(_wide(each)) for each in (u, g))
    pieces = [slice(start, start + PIECE) for start in range(0, g.size, PIECE)]
    sums = np.zeros(7)
    for piece in pieces:
        sums += _sums([_wide(each[piece]) for each in flat], _or_one(u_max), _or_one(g_max))
    return np.array([u_max, g_max, *sums, all(np.array_equal(u[piece], g[piece]) for piece in pieces)])


def _wide(values: Any) -> Any:
    """In at least float32, as `widened`; where they are, the same array."""
    return values.astype(widened_dtype(values.dtype), copy=False)


def _largest(values: Any) -> Any:
    """|element|, without an array of them; NaN where one is."""
    return np.maximum(np.max(values, initial=0.0), np.abs(np.min(values, initial=0.0)))


def _or_one(largest: Any) -> Any:
    return largest if largest > 0 else largest.dtype.type(1)


def _sums(piece: Sequence[Any], u_max: Any, g_max: Any) -> Sequence[Any]:
    """Those from `UPDATE` to `UNCHANGED`."""
    g, u, p, q = piece
    to, of, real = u / u_max, g / g_max, (q - p) / u_max
    asked = (u != 0) & (g != 0)
    count = np.count_nonzero(asked)
    wanted = to if count == asked.size else to * asked
    products = to @ to, of @ of, to @ of, wanted @ to, wanted @ real
    return *products, count, np.count_nonzero(asked & (p == q))


def _in_one(gradient: Any, update: Any, before: Any, after: Any) -> Any:
    """Traceable: the same in one piece."""
    g, u, p, q = (widened(each) for each in (gradient, update, before, after))
    u_max, g_max = (jnp.max(jnp.abs(each), initial=0.0) for each in (u, g))
    to, of = u / jnp.where(u_max > 0, u_max, 1), g / jnp.where(g_max > 0, g_max, 1)
    real = (q - p) / jnp.where(u_max > 0, u_max, 1)
    asked = (u != 0) & (g != 0)
    return jnp.stack(
        [
            u_max,
            g_max,
            jnp.sum(to * to),
            jnp.sum(of * of),
            jnp.sum(to * of),
            jnp.sum(to * to * asked),
            jnp.sum(to * real * asked),
            jnp.sum(asked, dtype=np.int32).astype(u.dtype),
            jnp.sum(asked & (p == q), dtype=np.int32).astype(u.dtype),
            jnp.all(u == g).astype(u.dtype),
        ]
    )


_on_device = jax.jit(_in_one)
