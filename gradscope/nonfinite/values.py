"""What is not finite in a value, and the value with that replaced by finite numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.peers.placing import put
from gradscope.trace.statistics import Floats

FILLS = 4
"""Ways to fill in what is not finite; one that gives a finite result is enough."""


class NonFiniteKind(StrEnum):
    """Kept apart because a mask of -inf may be intentional where a NaN is an accident."""

    NAN = "NaN"
    ABOVE = "inf"
    BELOW = "-inf"


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The range of a value; of a complex one that of its absolute value."""

    low: float = math.nan
    """Smallest finite element; NaN where there is none."""
    high: float = math.nan
    kinds: tuple[NonFiniteKind, ...] = ()
    """Kinds of non-finite elements that it holds."""
    bad: int = 0


def range_of(value: Any) -> ValueRange:
    """One pass over memory for a finite value, on the host if it is there."""
    if not is_inexact(value) or not np.size(value):
        return ValueRange()
    low, high = _bounds(value)
    if math.isfinite(low) and math.isfinite(high):
        return ValueRange(low, high)
    host = _comparable(value)
    finite = np.isfinite(host)
    inside = host[finite]
    kinds = tuple(kind for kind in NonFiniteKind if mask(host, (kind,)).any())
    if not inside.size:
        return ValueRange(kinds=kinds, bad=int(host.size))
    return ValueRange(float(inside.min()), float(inside.max()), kinds, int(host.size - inside.size))


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return all(size in (1, of) for size, of in zip(shape, to, strict=True))


def is_inexact(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return isinstance(value, float | complex)
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def _bounds(value: Any) -> tuple[float, float]:
    """NaN where any element is."""
    with np.errstate(all="ignore"):
        if isinstance(value, jax.Array) and not _on_host(value):
            low, high = jax.device_get(_device_bounds(value))
            return float(low), float(high)
        host = _comparable(value)
        return float(host.min()), float(host.max())


@jax.jit
def _device_bounds(value: jax.Array) -> tuple[jax.Array, jax.Array]:
    real = jnp.abs(value) if jnp.iscomplexobj(value) else value
    # Devices that compare their smallest and largest values may pass over a NaN of one of them.
    finite = jnp.all(jnp.isfinite(real))
    return jnp.where(finite, jnp.min(real), jnp.nan), jnp.where(finite, jnp.max(real), jnp.nan)


def _on_host(value: jax.Array) -> bool:
    devices = value.devices()
    return len(devices) == 1 and next(iter(devices)).platform == "cpu"


def _comparable(value: Any) -> Floats:
    """On the host; NumPy's reductions of half precision are slow, and it has no order of complex numbers."""
    host = np.asarray(value)
    if host.dtype.kind == "c":
        return np.asarray(np.abs(host))
    return host if host.dtype in (np.float32, np.float64) else host.astype(np.float32)


def mask(host: Any, kinds: Iterable[NonFiniteKind]) -> Any:
    """True where an element is of one of the kinds."""
    real = _comparable(host)
    found = np.zeros(real.shape, bool)
    for kind in kinds:
        if kind is NonFiniteKind.NAN:
            found |= np.isnan(real)
        else:
            found |= real == (math.inf if kind is NonFiniteKind.ABOVE else -math.inf)
    return found


def kind_of(number: float) -> NonFiniteKind | None:
    if math.isnan(number):
        return NonFiniteKind.NAN
    return None if math.isfinite(number) else NonFiniteKind.ABOVE if number > 0 else NonFiniteKind.BELOW


def filled(value: Any, kinds: Iterable[NonFiniteKind], attempt: int) -> Any:
    """A copy with finite numbers in place of these kinds: 1, a spread in (0, 1), 2, or -0.5."""
    host = np.array(value)
    bad = mask(host, kinds)
    count = int(bad.sum())
    spread = 0.1 + 0.8 * (np.arange(count) * 0.6180339887 % 1.0)
    host[bad] = (1.0, spread, 2.0, -0.5)[attempt]
    if isinstance(value, jax.Array) and not _on_host(value):
        return put(host, value.sharding)
    return host


def element(value: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> float:
    """The operand that an elementwise operation of `shape` reads at `index`; else the largest magnitude."""
    host = _comparable(value) if is_inexact(value) else np.asarray(value)
    if not host.size or host.dtype.kind not in "fiub":
        return math.nan
    if host.ndim == len(shape) == len(index) and _broadcasts(host.shape, shape):
        return float(host[tuple(0 if size == 1 else i for i, size in zip(index, host.shape, strict=True))])
    if host.size == 1:
        return float(host.reshape(-1)[0])
    with np.errstate(all="ignore"):
        finite = np.where(np.isfinite(host), np.abs(host), -1)
        largest = host.reshape(-1)[np.argmax(finite)]
        return float(largest)
