"""What the flow pass measured: parameters, layers, recurrences."""

from __future__ import annotations

from enum import StrEnum

from gradscope.records.common import Source
from gradscope.records.record import record


class Connection(StrEnum):
    """How a parameter leaf reaches the loss, read from the program and not from a number."""

    CONNECTED = "connected"
    BLOCKED = "blocked"
    """A path to the loss exists, but every one is cut by an operation without a gradient."""
    STATE = "state"
    """No path to the loss, but one to the auxiliary output: running statistics, a target network."""
    DERIVATIVE = "derivative"
    """Added to a value of which the loss uses only derivatives, in which a constant does not count."""
    DISCONNECTED = "disconnected"


@record
class Cut:
    """An operation that passes a value on and stops its gradient."""

    op: str
    """The primitive: `stop_gradient`, `argmax`, `round`, `sign`, `convert_element_type`, `gt`."""
    source: Source | None
    on_parameter: bool
    """The operation takes the parameter itself: a part that is frozen by name."""
    into: str = ""
    """The dtype of the integers that a function of a library makes of the result; empty where none does."""
    like: tuple[str, ...] = ()
    """The arrays of the batch that have this dtype."""
    straight_through: bool = False
    """It makes `x + stop_gradient(q - x)` of the parameter's q: the value of q with the gradient of x."""
    compared: Source | None = None
    """The line that subtracts x from that, or `stop_gradient(x)`: what should move q to x moves x."""


@record
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
    update_rms: float | None = None
    """rms of the first update that the problem's optimizer makes; `None` where none is given."""
    nonzero_after_steps: bool | None = None
    """For a gradient of exactly zero: is it non-zero after a few optimizer steps? `None`: not looked."""


@record
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
    """Of its weight, the largest of its leaves: a bias beside it would hide how large the weight is."""
    gradient_rms: float
    """Of the same leaf [loss per unit of the parameter]."""
    gradient_norm: float
    """Of all its leaves together, as `gradient_max` and the shares."""
    gradient_max: float
    gradient_zero_share: float | None
    """Share of the gradient's elements that are exactly zero, in [0, 1]."""
    gradient_nonfinite_share: float | None
    update_rms: float | None = None
    """rms of the weight's first update by the problem's optimizer; `None` where none is given."""
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
    kind: str | None = None
    """Class of the framework's module that owns the parameters: `Linear`, `LSTMCell`."""
    uses: int = 1
    """Places in the program where the layer is used (shared weights: more than one)."""
    nonzero_after_steps: bool | None = None
    """For a gradient of exactly zero: is it non-zero after a few optimizer steps? `None`: not looked."""
    gradient_norm_spread: float | None = None
    """Standard deviation over mean of `gradient_norm` over the batches; `None` with one batch."""
    delta_norm_spread: float | None = None
    """Standard deviation over the seeds of ln `delta_norm`, without the factor that all layers share;
    `None` with one seed."""

    @property
    def gradient_to_weight(self) -> float:
        """rms of the gradient over rms of the weights [loss per relative change]; NaN for zero weights."""
        return self.gradient_rms / self.weight_rms if self.weight_rms else float("nan")


@record
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
    gated: bool = False
    """A gate decides how much of the state is kept, as in an LSTM: it can open in training."""
    added: bool = False
    """A step adds to the state, as a simulation or an integrator does; it does not make it anew."""
    backward: bool = False
    """It runs from the end of the sequence to its start; looked at where `is_read_once`."""
    taken_at: Source | None = None
    """The line that takes one element along the steps, of what the loop gives; looked at as `backward`."""

    @property
    def is_read_once(self) -> bool:
        """The loss gets a gradient through the first step that runs alone, which begins with zeros."""
        norms = self.delta_norms
        return len(norms) > 1 and norms[0] > 0 and not any(norms[1:]) and self.state_rms[0] == 0
