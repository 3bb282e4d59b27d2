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


@dataclass(frozen=True, slots=True)
class DivergedReplicas:
    """An array that several devices hold, of which their copies are not equal bit for bit."""

    name: str
    """Of the parameter; `batch` and its path of an array of the batch."""
    axes: tuple[str, ...]
    """Of the mesh, along which it is declared the same; empty where they have no names."""
    devices: int
    differing: int
    """Devices that hold other bits than the first one that holds the same part."""
    elements: int
    """Of the first such copy, that differ from the first device's."""
    size: int
    """Elements of that copy."""
    apart: float | None
    """Their largest difference over the largest element; `None` where one is not finite or no float."""
    step: int | None = None
    """Of a training, before which it was found; `None` before the first one."""


@dataclass(frozen=True, slots=True)
class SharedNoise:
    """Random numbers that each device draws for its own examples, and that are the same on all of them."""

    source: Source | None
    axes: tuple[str, ...]
    """Of the mesh, over which the examples are split."""
    devices: int
    shape: tuple[int, ...]
    """Of what each device draws; the first axis has its examples."""


@dataclass(frozen=True, slots=True)
class ShardDependence:
    """The loss with the same examples, dealt to the devices in other ways."""

    source: Source | None
    """Of the `shard_map`."""
    axes: tuple[str, ...]
    devices: int
    examples: int
    loss: float
    turned: float
    """With the examples of each device in another order."""
    dealt: float
    """With the examples exchanged between devices."""
