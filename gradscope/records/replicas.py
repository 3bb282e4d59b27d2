"""How far the gradients of the replicas of a data-parallel training agree."""

from __future__ import annotations

from gradscope.records.record import record


@record
class GradientNoise:
    """How much the gradients of different batches, or of different replicas, have in common."""

    batches: int
    """Or replicas."""
    rows: int | None
    """Of each; `None` where its arrays have no common first axis."""
    signal: float
    """Expected inner product of the gradients of two batches over that of one with itself: 1 where all are
    alike, 0 where they have nothing in common; below 0 by chance."""

    @property
    def times(self) -> float | None:
        """How many times as large a batch would be in which signal and noise are equal; `None` without a
        common part."""
        return (1 - self.signal) / self.signal if self.signal > 0 else None

    @property
    def scale(self) -> float | None:
        """[rows] of that batch: the gradient noise scale of McCandlish et al. 2018."""
        return None if self.times is None or self.rows is None else self.rows * self.times


@record
class ReplicaLayer:
    """Of the gradients of one layer."""

    layer: str
    cosine: float | None
    """Of a replica's with the mean of the others', on average over replicas; `None` where they are 0."""
    signal: float | None
    """As that of `GradientNoise`; `None` where the replicas do not average to the batch."""


@record
class ReplicaGradients:
    """Gradients of the rows of each replica by themselves."""

    axes: tuple[str, ...]
    """Of the mesh, over which rows are split; empty where they have no names."""
    replicas: int
    rows: int
    """Of each."""
    batches: int
    """That were looked at."""
    cosine: float | None
    """Of a replica's whole gradient with the mean of the others', on average; `None` where they are 0."""
    layers: tuple[ReplicaLayer, ...]
    """In forward order."""
    apart: float
    """Of the mean of the replicas' gradients from the gradient of the whole batch, over the root mean square
    of their norms."""
    averaged: bool
    """That mean is the gradient of the whole batch, but for rounding."""
    drawn: bool = False
    """It is where the rows stand at each place of the batch in turn: the loss draws other numbers at each."""
    noise: GradientNoise | None = None
    """`None` where the mean is another gradient."""
