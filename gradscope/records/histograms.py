"""How large the elements of a layer are: its weights and their gradient, counted by size."""

from __future__ import annotations

from gradscope.records.record import record

PER_DECADE = 2
"""Bins of half a decade: fixed, so that those of two layers and of two runs compare."""


@record
class Histogram:
    """The elements of one layer by their absolute value; all of them are counted somewhere."""

    layer: str
    of: str
    """`weight` or `gradient`."""
    first: int
    """Of the first of `counts`: it counts what lies in [10^(first/2), 10^((first+1)/2))."""
    counts: tuple[int, ...]
    """Without empty bins at either end."""
    zeros: int
    """Exactly zero, or too small for any bin."""
    nonfinite: int
    """NaN or infinite."""

    @property
    def total(self) -> int:
        return sum(self.counts) + self.zeros + self.nonfinite
