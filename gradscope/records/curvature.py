"""The shape of the loss around the parameters: eigenvalues of its Hessian, and what was tried along lines."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class Eigenvalue:
    """A Rayleigh quotient of the Hessian: the largest is at least this, the smallest at most."""

    value: float
    error: float
    """Norm of the residual of its vector: an eigenvalue lies within so much of it."""
    converged: bool
    """The error is small beside the largest eigenvalue."""


@record
class DensityBin:
    """A part of the axis of eigenvalues."""

    low: float
    high: float
    share: float
    """Of all eigenvalues, by what the probes saw; all bins together have 1."""


@record
class LayerSharpness:
    """The largest eigenvalue of the diagonal block of one layer: all other layers are held."""

    name: str
    size: int
    source: Source | None
    largest: Eigenvalue | None
    """`None` where there was no time for it."""


@record
class LinePoint:
    """A way along a direction of length 1."""

    distance: float
    predicted: float
    """Change of the loss, by its slope and curvature at the start."""
    measured: float
    """Change of the loss."""


@record
class NegativeDirection:
    """The direction of the smallest eigenvalue, tried on both sides."""

    curvature: float
    slope: float
    """Of the loss along it."""
    points: tuple[LinePoint, ...]
    """In order, from one side to the other; without the start."""
    share: float
    """Of its square that lies in the layer below."""
    layer: str | None
    """The one with most of it."""

    def deepest(self, noise: float) -> tuple[float, float] | None:
        """The distance at which the mean of both sides lies furthest below the start, and by how much; `None`
        where it is nowhere below by more than rounding."""
        at = {point.distance: point.measured for point in self.points}
        falls = [
            (distance, -(at[distance] + at[-distance]) / 2)
            for distance in at
            if distance > 0 and -distance in at
        ]
        seen = [(distance, fall) for distance, fall in falls if fall > noise]
        return max(seen, key=lambda each: each[1], default=None)


@record
class GradientStep:
    """The step along the gradient that is best by the quadratic model, measured."""

    norm: float
    """Of the gradient."""
    curvature: float
    """Along it."""
    rate: float | None = None
    """Of that step: 1 / curvature; `None` where it does not bend up."""
    predicted: float | None = None
    """Fall of the loss."""
    measured: float | None = None


@record
class CriticalStep:
    """Multiples of the optimizer's first update, each measured: where the loss is back at its start."""

    optimizer: str
    change: float
    """Of the loss, by one whole update."""
    below: float
    """The largest that was tried below which no other was higher than the start; 0 where all were."""
    above: float | None
    """The smallest that was higher than the start; `None` where none was."""


@record
class OwnRate:
    """What the user's optimizer does with a gradient, by asking it, and the curvature that it stands."""

    transform: str
    """That of `ParameterGroup`; `several` where its groups differ."""
    rate: float | None = None
    """What an element falls at the first step for each unit of its gradient; of `fixed`: by how much."""
    momentum: float | None = None
    """By which each later step goes on; 0 without."""
    stable: float | None = None
    """The largest curvature at which its steps on a parabola shrink; `None` where that was not to be had."""
    reason: str = ""
    """Why not."""


@record
class GaussNewton:
    """The matrix JᵀHJ, J the derivative of the outputs of the network and H the Hessian of the loss by these,
    and the step (JᵀHJ + damping)⁻¹ gradient, measured."""

    outputs: int
    """Numbers that the loss reads of the network, and of the parameters themselves."""
    source: Source | None
    """The line that makes them."""
    output_low: float
    """The smallest eigenvalue of H that was found: not below zero but for rounding."""
    output_high: float
    """The largest."""
    largest: Eigenvalue
    """Of JᵀHJ."""
    products: int
    """Of it with a vector, for the step."""
    tries: int
    """Dampings that were tried."""
    damping: float
    """The best of them."""
    change: float
    """Of the loss, by the step."""
    gradient_change: float
    """Of the loss, by the best of products + tries steps along the gradient."""
    gradient_rate: float
    """Of that step."""


@record
class Curvature:
    """At the parameters of the file, of the mean loss over the batches."""

    parameters: int
    """Numbers that move."""
    left_out: int
    """Numbers that do not: the loss does not depend on them, or the optimizer holds them."""
    batches: int
    dtype: str
    """Of the products."""
    loss: float
    gradient_norm: float
    noise: float = 0.0
    """By how much rounding may change the loss."""
    products: int = 0
    """Of the Hessian with a vector."""
    asymmetry: float | None = None
    """Of the matrix, over its norm, by pairs of vectors: rounding, or more where a rule is no derivative."""
    zero: bool = False
    """Every product is exactly zero."""
    largest: Eigenvalue | None = None
    smallest: Eigenvalue | None = None
    trace: float | None = None
    trace_error: float | None = None
    """Standard error over the probes; `None` of a single one."""
    probes: int = 0
    density: tuple[DensityBin, ...] = ()
    layers: tuple[LayerSharpness, ...] = ()
    """In forward order."""
    gradient_step: GradientStep | None = None
    gauss_newton: GaussNewton | None = None
    """`None` where the outputs cannot be told from the loss, or it bends down in them."""
    negative: NegativeDirection | None = None
    """`None` where the smallest eigenvalue is not below zero."""
    critical: CriticalStep | None = None
    own: OwnRate | None = None
    """`None` where the file gives no optimizer."""
    complete: bool = True
    """False where it was interrupted."""

    @property
    def stable_rate(self) -> float | None:
        """Up to which plain gradient descent is stable in the quadratic model: 2 / the largest eigenvalue."""
        return 2 / self.largest.value if self.largest is not None and self.largest.value > 0 else None

    @property
    def stationary(self) -> bool:
        """The gradient is zero, or too small for a step along it to be seen in the loss."""
        step = self.gradient_step
        small = step is not None and step.predicted is not None and step.predicted <= self.noise
        return self.gradient_norm == 0 or small

    @property
    def excess(self) -> float | None:
        """The largest eigenvalue over what the user's optimizer stands."""
        if self.own is None or self.own.stable is None or self.largest is None:
            return None
        return self.largest.value / self.own.stable
