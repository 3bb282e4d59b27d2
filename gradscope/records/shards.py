"""What the devices of a mesh do not agree on."""

from __future__ import annotations

from dataclasses import dataclass

from gradscope.records.common import Source


@dataclass(frozen=True, slots=True)
class UnreducedShard:
    """A result of a `shard_map` that its `out_specs` declare the same on all devices, and that is not."""

    source: Source | None
    axes: tuple[str, ...]
    """Along which it is declared the same."""
    devices: int
    differing: int
    """Devices that have another value than the first one."""
    apart: float
    """Largest difference from the first device's, over the largest element of any."""
    loss: float
    """With the value of the first device, which is the one that comes out."""
    lowest: float
    highest: float
    """Of the loss, with the value of each device in the place of the first one's."""
