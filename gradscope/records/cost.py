"""What a training step computes: operations and seconds by layer, and how both grow."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records.common import Source
from gradscope.records.communication import Communication
from gradscope.records.record import record


@record
class PassCost:
    """Of the forward or of the backward pass."""

    operations: float
    """A multiplication and an addition are two; what is done element by element is one for each element."""
    transcendental: float
    """Those of them that are an exponential, a root and the like."""
    size: float
    """[bytes] of the operands and results of every equation: what moves where nothing is fused."""
    seconds: float | None = None
    """Median; `None` where it was not measured."""

    @property
    def intensity(self) -> float | None:
        """Operations for each byte."""
        return self.operations / self.size if self.size else None


@record
class LayerCost:
    name: str | None
    """`None`: what stands in no layer."""
    source: Source | None
    forward: PassCost
    backward: PassCost
    estimated: bool = False
    """Some of its seconds are a share, by operations, of those of a part that other layers are in, too."""

    @property
    def operations(self) -> float:
        return self.forward.operations + self.backward.operations

    @property
    def size(self) -> float:
        return self.forward.size + self.backward.size

    @property
    def seconds(self) -> float | None:
        if self.forward.seconds is None and self.backward.seconds is None:
            return None
        return (self.forward.seconds or 0.0) + (self.backward.seconds or 0.0)


@record
class LineCost:
    """The operations of one primitive of the loss at one line, and those of its derivative."""

    primitive: str
    source: Source | None
    equations: int
    """Of the loss."""
    forward: float
    backward: float
    size: float
    """[bytes] moved, forward and backward."""


@record
class KindCost:
    """`matrix products`, `convolutions`, `elementwise`, `reductions`, ..."""

    name: str
    forward: float
    backward: float


@record
class CompilerCost:
    """XLA's own count of the operations of the loss and its gradient, and ours in its way: the step of a loop
    once."""

    given: float
    """Before it optimizes; a loop that it unrolls later counts one step."""
    compiled: float | None
    """Of the compiled program; `None` where it was not compiled as one."""
    size: float | None
    """[bytes] that the compiled program reads and writes."""
    counted: float

    @property
    def difference(self) -> float | None:
        """Of what is counted from XLA's figure for the compiled program, as a share of that."""
        return self.counted / self.compiled - 1 if self.compiled else None

    @property
    def given_difference(self) -> float | None:
        """The same from its figure before it optimizes."""
        return self.counted / self.given - 1 if self.given else None


@record
class GrowthPoint:
    size: int
    forward: float
    """Operations."""
    backward: float
    seconds: float | None = None
    """Median of a loss and its gradient; `None` where it was not measured."""
    low_s: float | None = None
    """A quarter of the runs took no longer."""
    high_s: float | None = None

    @property
    def operations(self) -> float:
        return self.forward + self.backward


@record
class CostGrowth:
    """Along `batch`, `length`, `width` or `depth`."""

    axis: str
    of: str
    """What was cut: `axis 1 of tokens`."""
    at: int
    """The size at hand."""
    points: tuple[GrowthPoint, ...]
    """By size."""
    exponent: float | None = None
    """Of the operations: the slope of the line through them, both logarithmic."""
    time_exponent: float | None = None
    """The same of the seconds."""
    polynomial: tuple[float, ...] = ()
    """Operations as `c0 + c1 size + c2 size^2`, where that goes through all points."""
    quadratic_share: float | None = None
    """Of the operations at the size at hand: those of `c2 size^2`."""
    half_at: int | None = None
    """The smallest size at which the quadratic part is half of the operations, by the polynomial: within the
    sizes of the points, or counted there, too."""

    @property
    def measured(self) -> tuple[GrowthPoint, ...]:
        return tuple(point for point in self.points if point.seconds is not None)


@record
class RepeatedBlock:
    """The block of which the network is made, or the step of a loop."""

    block: str
    source: Source | None
    count: int
    loop: bool
    forward: float
    """Operations of all of them."""
    backward: float

    @property
    def operations(self) -> float:
        return self.forward + self.backward


@record
class UpdateCost:
    """One update of the optimizer, its addition to the parameters included."""

    optimizer: str
    operations: float
    size: float
    """[bytes]"""
    seconds: float | None = None


@record
class Cost:
    batch_size: int | None
    """`None` where the arrays of the batch share no leading axis."""
    layers: tuple[LayerCost, ...]
    """In forward order."""
    lines: tuple[LineCost, ...]
    """Those with most operations first."""
    kinds: tuple[KindCost, ...]
    """The largest first."""
    uncounted: tuple[str, ...] = ()
    """Primitives whose operations are not known: an FFT, a factorization, a kernel."""
    open_loops: int = 0
    """Loops whose number of steps only the run knows: counted once."""
    compiled: CompilerCost | None = None
    """`None` where it was not compiled."""
    whole_s: float | None = None
    """Median of the loss and its gradient, compiled."""
    low_s: float | None = None
    """A quarter of the runs took no longer."""
    high_s: float | None = None
    blocks: int = 0
    """In which that was run, where it would compile for long; 0: as one program."""
    parts: int = 0
    """In which it was measured by layer."""
    call_s: float | None = None
    """Of an empty program: each part takes so long at least."""
    update: UpdateCost | None = None
    repeated: RepeatedBlock | None = None
    """`None` where nothing repeats."""
    growth: tuple[CostGrowth, ...] = ()
    limit: float | None = None
    """Operations above which the run fails."""
    complete: bool = True
    """False where it was interrupted."""
    communication: tuple[Communication, ...] = ()
    """Over the mesh of the arrays, and over those that it is compared with; empty on one device."""

    @property
    def forward(self) -> float:
        return sum(layer.forward.operations for layer in self.layers)

    @property
    def backward(self) -> float:
        return sum(layer.backward.operations for layer in self.layers)

    @property
    def operations(self) -> float:
        """Of the loss and its gradient."""
        return self.forward + self.backward

    @property
    def step(self) -> float:
        """Operations of a training step."""
        return self.operations + (self.update.operations if self.update is not None else 0.0)

    @property
    def size(self) -> float:
        return sum(layer.size for layer in self.layers)

    @property
    def parts_s(self) -> float | None:
        """Seconds of all parts one after the other."""
        known = [layer.seconds for layer in self.layers if layer.seconds is not None]
        return sum(known) if known else None

    def without_times(self) -> Cost:
        """The same without what a clock said."""

        def untimed(layer: LayerCost) -> LayerCost:
            forward, backward = (replace(each, seconds=None) for each in (layer.forward, layer.backward))
            return replace(layer, forward=forward, backward=backward, estimated=False)

        def unmeasured(growth: CostGrowth) -> CostGrowth:
            points = tuple(replace(p, seconds=None, low_s=None, high_s=None) for p in growth.points)
            return replace(growth, points=points, time_exponent=None)

        update = None if self.update is None else replace(self.update, seconds=None)
        return replace(
            self,
            layers=tuple(map(untimed, self.layers)),
            growth=tuple(map(unmeasured, self.growth)),
            update=update,
            whole_s=None,
            low_s=None,
            high_s=None,
            call_s=None,
        )
