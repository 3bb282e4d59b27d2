"""The random generators that a process shares: Python's and NumPy's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A file that draws its data by `np.random.normal(...)` without a seed draws the same in every run; the
    state of the generators is put back after. What asks the system, as `default_rng()` does, stays random."""
    before = random.getstate(), np.random.get_state()
    import jax  # noqa: F401  # its import draws from them: before the seed is set

    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
