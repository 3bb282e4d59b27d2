"""Random numbers inside of a loss, and trainings without what was found of them."""

from __future__ import annotations

from dataclasses import dataclass

from gradscope.records.common import Source


@dataclass(frozen=True, slots=True)
class RepeatedNoiseTrial:
    """Two trainings from the same start: with the noise as it is, the same at each step, and with new noise.

    Losses are means over the batches and over noise that neither of them has seen, but for `seen`.
    """

    steps: int
    start: float
    seen: float
    """After the steps as they are, with the noise that they have seen."""
    end: float
    """The same with noise that they have not seen."""
    end_renewed: float
    """After the steps with new noise."""
    error: float
    """Standard error of the ends, over draws of the noise."""


@dataclass(frozen=True, slots=True)
class RepeatedNoise:
    """Random numbers for each example whose key is a constant of the program."""

    key: Source | None
    """Where the key is made of a number; `None` where the loss closes over it."""
    source: Source | None
    """Of the draw."""
    shape: tuple[int, ...]
    layer: str | None
    """The first layer whose output depends on it; `None` where it meets the loss behind all layers."""
    trial: RepeatedNoiseTrial | None = None
    """Of all such draws together; `None` where too few steps could be taken."""
