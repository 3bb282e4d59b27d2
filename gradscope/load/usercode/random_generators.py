"""The random generators that a process shares: Python's and NumPy's."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

DRAW_WHEN_IMPORTED = ("jax", "rich.style")
"""Imported before the seed is set: a file that imports Flax, which imports Rich, would else begin with other
numbers in a process that has it already."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A file that draws its data by `np.random.normal(...)` without a seed draws the same in every run; the
    state of the generators is put back after. What asks the system, as `default_rng()` does, stays random."""
    before = random.getstate(), np.random.get_state()
    for name in DRAW_WHEN_IMPORTED:
        importlib.import_module(name)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
