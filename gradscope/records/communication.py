"""What the devices of a mesh send each other in a training step, as its compiled program says."""

from __future__ import annotations

from collections.abc import Mapping

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class Collective:
    """The operations of one kind between devices that one line of one layer needs, together."""

    kind: str
    """`all-reduce`, `all-gather`, `reduce-scatter`, `all-to-all`, `collective-permute`, ..."""
    layer: str | None
    """`None`: of no layer, as the loss itself or the update of the optimizer."""
    source: Source | None
    half: str
    """`forward`, `backward` or `update`."""
    axes: tuple[str, ...]
    """Of the mesh, along which devices talk; empty where their groups are no whole axes."""
    devices: int
    """Of each group."""
    count: int
    """In a step, those of each turn of a loop included. Several that XLA has joined count each."""
    size: int
    """[bytes] on each device, of all of them: of the whole array, as it is summed, gathered or exchanged."""
    sent: float
    """[bytes] that each device has to send at least, whatever the algorithm."""


@record
class Communication:
    """Of a training step over one mesh. All bytes are those of each device."""

    mesh: Mapping[str, int]
    """Names and sizes of its axes; empty where they have no names."""
    devices: int
    collectives: tuple[Collective, ...]
    """In forward order of the layers."""
    parameters: int
    """[bytes] of them that lie on each device."""
    peak: int
    """[bytes] of the step, by XLA: arguments, results and all else at its most."""
    updated: bool
    """The update of the optimizer is part of the step."""
    open_loops: int = 0
    """Loops around some of them of which only the run knows the number of turns: counted once."""

    @property
    def count(self) -> int:
        return sum(each.count for each in self.collectives)

    @property
    def size(self) -> int:
        return sum(each.size for each in self.collectives)

    @property
    def sent(self) -> float:
        return sum(each.sent for each in self.collectives)
