"""What a training step holds in memory: what the backward pass keeps, and XLA's own figures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class DerivedOperation:
    """A primitive in the linearized loss, and whose derivative it belongs to."""

    primitive: str
    """`mul`"""
    rule: str
    """The primitive of the user's loss: `tanh`. The same where it is no derivative."""
    source: Source | None = None


@record
class KeptArray:
    """An array that forward makes and backward reads (a residual)."""

    shape: tuple[int, ...]
    dtype: str
    size: int
    """[bytes]"""
    steps: int
    """Of a loop that stacks it, one row for each; 1 outside of loops."""
    layer: str | None
    """`None` where it stands in no layer."""
    made_by: DerivedOperation
    read_by: DerivedOperation | None
    """The first in the backward pass; `None` where JAX holds it, and backward does not read it."""


@record
class CompiledMemory:
    """What XLA says of the compiled loss and gradient. All in bytes."""

    arguments: int
    """Parameters and batch."""
    outputs: int
    """Gradients and the loss."""
    temporaries: int
    """All else, at its most."""
    aliased: int
    """Arguments that outputs are written into."""

    @property
    def peak(self) -> int:
        return self.arguments + self.outputs + self.temporaries - self.aliased


@record
class CheckpointTrial:
    """The repeated block in `jax.checkpoint` with one policy."""

    policy: str
    """A name in `jax.checkpoint_policies`."""
    working: int
    """As that of `Memory`."""
    operations: float
    """Of the loss and gradient, counted in the program: products and sums of each product, and one for each
    element of the rest."""
    compiled: CompiledMemory | None = None
    """`None` where it was not compiled."""
    undone: bool = False
    """The compiler holds about as much as without checkpoints, although the program needs a tenth of the peak
    less: it takes the second computation for the first one, or runs it early."""
    step_s: float | None = None
    """Median of the runs; `None` where it did not run."""
    gradient_error: float | None = None
    """Largest difference of the gradient from that without checkpoints, over the largest element of its
    leaf; `None` where it did not run."""


@record
class Checkpointing:
    """Gradient checkpointing, tried in memory on the block that repeats."""

    block: str
    """What of the user's repeats: `Block.__call__`, `the loop in forward`."""
    source: Source | None
    count: int
    loop: bool
    """It is the body of a `scan`."""
    operations: float
    step_s: float | None
    trials: tuple[CheckpointTrial, ...]
    """Those that save most first."""
    recommended: str = ""
    """A policy; empty where none saves clearly."""
    line: str = ""
    """Of code for it."""

    @property
    def best(self) -> CheckpointTrial | None:
        """With the recommended policy."""
        return next((trial for trial in self.trials if trial.policy == self.recommended), None)


@record
class Accumulation:
    """A large batch as several small ones whose gradients are added up."""

    parts: int
    rows: int
    """Of each."""
    reduction: str
    """`mean` or `sum`: what of the gradients of two halves is that of the whole; `neither`, or empty where it
    was not tried."""
    error: float | None = None
    """Largest difference, over the largest element of its leaf."""


@record
class MemoryLimit:
    """The largest batch whose step stays below a limit."""

    limit: int
    """[bytes]"""
    measured: tuple[tuple[int, int], ...] = ()
    """Rows of a batch, and the peak of a step [bytes], each compiled."""
    per_row: float = 0.0
    """[bytes] by the line through them."""
    rows: int | None = None
    """The largest that was found to fit, or 0; `None` where it was not looked for."""
    accumulation: Accumulation | None = None
    """Where the batch at hand does not fit."""


@record
class MemoryByDevice:
    """What lies on each device of a mesh. All in bytes."""

    axes: Mapping[str, int]
    """Names and sizes of the axes of the mesh."""
    devices: int
    parameters: int
    """Its parts of them, and as much for the gradients."""
    data: int
    optimizer_state: int | None
    """Laid out as the parameters of its shapes; as in `Memory`."""


@record
class Memory:
    """All in bytes, and of whole arrays; what XLA says is of one device."""

    parameters: int
    """Those that are differentiated."""
    data: int
    """The batch, and what else goes in: other parameters, constants that the loss closes over."""
    gradients: int
    optimizer_state: int | None
    """`None` where the file gives no optimizer, or its state cannot be known without a step."""
    kept: tuple[KeptArray, ...]
    """The largest first."""
    kept_arguments: int
    """Parameters and data that the backward pass reads, too: they are there anyway, and not counted again."""
    working: int
    """Beyond arguments and gradients: what a compiler that fuses elementwise operations holds at its most, by
    the program alone."""
    batch_size: int | None
    """`None` where the arrays of the batch share no leading axis."""
    compiled: CompiledMemory | None = None
    """`None` where it was not compiled."""
    checkpointing: Checkpointing | None = None
    """`None` where nothing repeats, or it was not tried."""
    limit: MemoryLimit | None = None
    complete: bool = True
    """False where it was interrupted."""
    by_device: MemoryByDevice | None = None
    """`None` where all lies on one device."""
    shapes_alone: bool = False
    """The parameters have no values, and nothing was run."""

    @property
    def residuals(self) -> int:
        """Of all that is kept, as JAX holds it outside of `jit`."""
        return sum(array.size for array in self.kept)

    @property
    def unread(self) -> int:
        """Of what is kept and not read."""
        return sum(array.size for array in self.kept if array.read_by is None)

    @property
    def accounted(self) -> int:
        """Peak of the compiled loss and gradient, by this account."""
        return self.parameters + self.data + self.gradients + self.working

    def without_times(self) -> Memory:
        """The same without what a clock said."""
        tried = self.checkpointing
        if tried is None:
            return self
        trials = tuple(replace(trial, step_s=None) for trial in tried.trials)
        return replace(self, checkpointing=replace(tried, step_s=None, trials=trials))

    def accounted_with(self, trial: CheckpointTrial) -> int:
        return self.accounted - self.working + trial.working

    def peak_with(self, trial: CheckpointTrial) -> int:
        """XLA's figure, or what is accounted where it did not do as it was asked to."""
        known = trial.compiled is not None and not trial.undone
        return trial.compiled.peak if known and trial.compiled else self.accounted_with(trial)

    def saved_by(self, trial: CheckpointTrial) -> float:
        """Share of the peak of loss and gradient, both by XLA or both as accounted."""
        known = self.compiled is not None and trial.compiled is not None and not trial.undone
        plain = self.compiled.peak if known and self.compiled else self.accounted
        return 1 - self.peak_with(trial) / plain if plain else 0.0

    @property
    def difference(self) -> float | None:
        """Of what is accounted from XLA's own figure, as a share of that; `None` on a mesh, where XLA decides
        how what is kept is divided."""
        if self.compiled is None or not self.compiled.peak or self.by_device is not None:
            return None
        return self.accounted / self.compiled.peak - 1

    @property
    def step(self) -> int:
        """Peak of a training step: XLA's figure where it is known, and the state of the optimizer; of one
        device where it was compiled for a mesh."""
        if self.compiled is None:
            return self.accounted + (self.optimizer_state or 0)
        state = self.optimizer_state if self.by_device is None else self.by_device.optimizer_state
        return self.compiled.peak + (state or 0)
