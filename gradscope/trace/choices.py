"""How often each of several is chosen for a row of scores: the load of experts, as a router chooses them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jax import Array, lax

from gradscope.trace.attention_rows import AttentionAxes


@dataclass(frozen=True, slots=True)
class Choice:
    """The largest of the scores along an axis are chosen."""

    axis: int
    count: int
    """That are chosen for each row."""
    shape: tuple[int, ...]
    """Of the scores."""

    @property
    def among(self) -> int:
        return self.shape[self.axis]

    @property
    def rows(self) -> int:
        return math.prod(self.shape) // max(self.among, 1)


class Load(NamedTuple):
    """f[lead..., choices]"""

    chosen: Any
    """Rows for which each is chosen."""
    rows: Any
    """Rows in all; the same number for each."""


Look = AttentionAxes | Choice
"""What a probe looks at, other than a distance."""


def no_load(choice: Choice, lead: Sequence[int]) -> Load:
    zero = lax.full((*lead, choice.among), 0.0, np.float32)
    return Load(zero, zero)


def load(choice: Choice, scores: Array) -> Load:
    """Traceable: the same choice as the program's own, which XLA makes once."""
    last = [axis for axis in range(scores.ndim) if axis != choice.axis]
    moved = lax.transpose(lax.stop_gradient(scores), [*last, choice.axis])
    moved = lax.reshape(moved, (choice.rows, choice.among))
    _, indices = lax.top_k(moved, choice.count)
    numbers = lax.broadcasted_iota(indices.dtype, (*indices.shape, choice.among), 2)
    equal = lax.eq(lax.broadcast_in_dim(indices, numbers.shape, (0, 1)), numbers)
    chosen = lax.reduce_sum(lax.convert_element_type(equal, np.float32), (0, 1))
    return Load(chosen, lax.full(chosen.shape, float(choice.rows), np.float32))
