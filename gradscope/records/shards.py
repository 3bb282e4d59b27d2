"""What the devices of a mesh do not agree on."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record


@record
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


@record
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
    own_step: bool = False
    """It was found after one step of the file's `train_step`."""


@record
class SharedNoise:
    """Random numbers that each device draws for its own examples, and that are the same on all of them."""

    source: Source | None
    axes: tuple[str, ...]
    """Of the mesh, over which the examples are split."""
    devices: int
    shape: tuple[int, ...]
    """Of what each device draws; the first axis has its examples."""


@record
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


@record
class LocalNorm:
    """A norm in the file's `train_step` that each device computes of what it has alone, and that scales a
    gradient there."""

    source: Source | None
    axes: tuple[str, ...]
    """Along which devices have other norms."""
    devices: int
    parts: bool
    """Parameters are split along one of the axes: each norm is that of a part of the gradient. Else each is
    that of the gradient of some examples."""
    lowest: float
    highest: float
    """Of the norms."""
    together: float
    """Of all parts; of examples, the mean of the norms."""
    changed: float
    """Share of the elements of params and optimizer state after the step that are others where every device
    scales by that one number."""


@record
class ScaledGradient:
    """The file's `train_step` does what its optimizer does with a multiple of the gradient of its loss."""

    source: Source | None
    """Of the collective that sums gradients; of the `shard_map` where none is seen."""
    axes: tuple[str, ...]
    """Of the mesh, whose sizes give that multiple."""
    devices: int
    """Along those axes."""
    factor: float
    """That multiple: their number, or one over it."""
    apart: float
    """From the step with that multiple, the largest difference of a leaf over what the step changes there."""
    apart_from_plain: float
    """The same from the step with the gradient itself."""
    params_apart: float
    """The same of the params alone, without the state of the optimizer: 0 where a step does not depend on the
    size of the gradient, as Adam's."""


@record
class SummedLoss:
    """A term of the loss that is the sum over devices of the mean over the examples of each."""

    source: Source | None
    """Of the sum."""
    axes: tuple[str, ...]
    devices: int
    examples: int
    """Of each device."""


@record
class FrozenShard:
    """A parameter that is split over devices, of which some parts have no gradient although the loss depends
    on them."""

    parameter: str
    source: Source | None
    """Of the `shard_map` that gets it split."""
    axes: tuple[str, ...]
    parts: int
    """Along those axes."""
    frozen: tuple[int, ...]
    """The places along them whose part has none."""
    loss: float
    moved: float
    """The loss with those parts moved."""
