"""What a run measured and what it found: plain data, standard library only, the seam of the program.

Passes write these records, rules and reporters read them, nobody else's types cross. All numbers are
Python floats and may be NaN or infinite; `None` means "not measured", never zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Number = float | int | str


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the gravest: findings are sorted by it."""
        return list(Severity).index(self)


class Connection(StrEnum):
    """How a parameter leaf reaches the loss, read from the program and not from a number."""

    CONNECTED = "connected"
    BLOCKED = "blocked"
    """A path to the loss exists, but every one is cut by an operation without a gradient."""
    STATE = "state"
    """No path to the loss, but one to the auxiliary output: running statistics, a target network."""
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's code; `text` is that line, stripped, or empty where it cannot be read."""

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Cut:
    """An operation that passes a value on and stops its gradient."""

    op: str
    """The primitive: `stop_gradient`, `argmax`, `round`, `sign`, `convert_element_type`, `gt`."""
    source: Source | None
    on_parameter: bool
    """The operation takes the parameter itself: a part that is frozen by name."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One floating leaf of the params pytree and its gradient."""

    name: str
    layer: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    connection: Connection
    weight_rms: float
    weight_nonfinite: int
    """Elements that are NaN or infinite before anything ran."""
    gradient_rms: float
    """[loss per unit of the parameter]"""
    gradient_norm: float
    gradient_max: float
    """Largest absolute value."""
    cuts: tuple[Cut, ...] = ()
    """Where its gradient ends, for a blocked parameter."""
    alive_later: bool | None = None
    """For a gradient of exactly zero: is it non-zero after a few optimizer steps? `None`: not looked."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The leaves of one parent path that are consumed together, and the value they produce.

    `activation_*` and `delta_*` describe the output value z of the layer (after its bias, before the
    activation function) and δ = ∂L/∂z, pooled over every place where the layer is used and every step
    of the loops around it. They are `None` where the layer has no such value (disconnected, or inside
    an operation that gradscope cannot look into).
    """

    name: str
    parameters: tuple[str, ...]
    size: int
    source: Source | None
    weight_rms: float
    gradient_rms: float
    gradient_norm: float
    gradient_max: float
    gradient_zero_share: float | None
    """Share of the gradient's elements that are exactly zero, in [0, 1]."""
    gradient_nonfinite_share: float | None
    activation_rms: float | None = None
    activation_max: float | None = None
    delta_rms: float | None = None
    delta_max: float | None = None
    delta_norm: float | None = None
    """Euclidean norm of δ over all elements of one use: what stays level in a healthy deep network."""
    depth: int | None = None
    """Layers on the longest path from the input to this one; layers side by side share a depth."""
    op: str | None = None
    """The primitive that multiplies the weights: `dot_general`, `conv_general_dilated`, `gather`, ..."""
    fan_in: int | None = None
    """Inputs summed into one output element, for products and convolutions."""
    activation: str | None = None
    """The activation function its output goes into: `relu`, `tanh`, `logistic`, `gelu`, ..."""
    uses: int = 1
    """Places in the program where the layer is used (shared weights: more than one)."""
    gradient_norm_spread: float | None = None
    """Standard deviation over mean of `gradient_norm` over the batches; `None` with one batch."""

    @property
    def gradient_to_weight(self) -> float:
        """rms of the gradient over rms of the weights [loss per relative change]; NaN for zero weights."""
        return self.gradient_rms / self.weight_rms if self.weight_rms else float("nan")


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The carried state of one loop over time, and δ of that state at every step.

    Index 0 is the first step that runs (a reversed scan is turned round), and `delta_norms[t]` is the
    norm of ∂L/∂h where h is the state that *enters* step t.
    """

    name: str
    source: Source | None
    length: int
    layers: tuple[str, ...]
    """Layers whose parameters the loop applies at every step."""
    delta_norms: tuple[float, ...]
    state_rms: tuple[float, ...]
    function: str | None = None
    """The squashing function the state goes through, where one is seen: `tanh`, `logistic`."""


@dataclass(frozen=True, slots=True)
class NonFiniteInput:
    """A leaf of the batch that holds a NaN or an infinity before anything ran."""

    name: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class NonFiniteValue:
    """A layer whose output (`forward`) or δ (not `forward`) is not finite, in the order of execution."""

    layer: str
    forward: bool
    source: Source | None
    step: int | None = None
    """First step at which it happens, for a value inside a loop."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not judged, and why: shown by every reporter."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything the passes produced for one problem. Layers stand in forward order."""

    loss: float
    layers: tuple[Layer, ...]
    parameters: tuple[Parameter, ...]
    recurrences: tuple[Recurrence, ...] = ()
    nonfinite_inputs: tuple[NonFiniteInput, ...] = ()
    nonfinite_values: tuple[NonFiniteValue, ...] = ()
    batches: int = 1
    loss_spread: float | None = None
    """Standard deviation of the loss over the batches; `None` with one batch."""
    optimizer_given: bool = False
    unseen: tuple[Skipped, ...] = ()
    """Operations that consume parameters and that gradscope ran without looking inside."""

    @property
    def gradient_norm(self) -> float:
        """Global norm: what `optax.global_norm` and clipping see."""
        norms = [p.gradient_norm for p in self.parameters]
        return math.nan if any(map(math.isnan, norms)) else math.hypot(*norms)


@dataclass(frozen=True, slots=True)
class Finding:
    """One sickness, named at its root, with the numbers that show it and one remedy."""

    rule: str
    severity: Severity
    layer: str | None
    parameter: str | None
    source: Source | None
    message: str
    evidence: Mapping[str, Number]
    remedy: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds of each part of a run."""

    load_s: float = 0.0
    trace_s: float = 0.0
    compile_s: float = 0.0
    run_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Tool:
    gradscope: str
    jax: str
    backend: str
    """`cpu`, `gpu` or `tpu`."""


@dataclass(frozen=True, slots=True)
class Report:
    """The measurement, the findings, and what was skipped and why."""

    target: str
    tool: Tool
    measurement: Measurement
    findings: tuple[Finding, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    timing: Timing = field(default_factory=Timing)

    @property
    def verdict(self) -> str:
        """`sick` where a finding is an error, else `healthy`; the gate's policy may be stricter."""
        return "sick" if any(f.severity is Severity.ERROR for f in self.findings) else "healthy"
