"""What the loss makes of the model's outputs and of the batch."""

from __future__ import annotations

from dataclasses import dataclass

from gradscope.records.common import Source


@dataclass(frozen=True, slots=True)
class ExamplePairing:
    """Values of each example that meet those of every other one by broadcasting, and are all summed alike."""

    op: str
    """The primitive that they meet in: `sub`, `mul`, `select_n`."""
    source: Source | None
    layer: str | None
    """The last layer on the way to it."""
    shape: tuple[int, ...]
    """Of the operand with an axis of length one behind its examples."""
    promoted: tuple[int, ...]
    """Of the other operand, before NumPy promoted its rank."""
    result: tuple[int, ...]
    examples: int
    asked: bool
    """The axis of length one was written out: `[:, None]`."""
    targets: bool
    """One of the two depends on the parameters and the other does not."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What was read from the program of the loss, and of the data that it gets."""

    example_pairings: tuple[ExamplePairing, ...] = ()
