"""Is the gradient right: for each parameter leaf, and for each custom derivative rule."""

from __future__ import annotations

from enum import StrEnum

from gradscope.records.common import Source
from gradscope.records.record import record


class Verdict(StrEnum):
    RIGHT = "right"
    WRONG = "wrong"
    CANNOT_JUDGE = "cannot judge"


@record
class GradientCheck:
    """One parameter leaf: its gradient against finite differences along directions inside the leaf.

    `analytic` and `numeric` are the derivative [loss per unit step] along the direction that disagrees
    most, against the uncertainty of its differences.
    """

    parameter: str
    layer: str
    verdict: Verdict
    cause: str
    """The reason as a slug: `kink`, `noise`, `nondeterministic`, `stop-gradient`, `jumps`, `no-path`,
    `non-finite`, ...; may be empty."""
    reason: str
    """Why it cannot be judged, or what a reader should know of a right or wrong one; may be empty."""
    directions: int
    analytic: float
    numeric: float
    error: float
    """How far the two are apart: six digits of each would not tell."""
    uncertainty: float
    """What `error` can be without a fault: truncation (Richardson), kinks, and rounding on both sides."""
    step: float
    """Length of the step [units of the parameter, as rms over the leaf] at which `numeric` was taken."""
    dtype: str
    """The coarsest dtype between the parameters and the loss, where the differences were taken."""
    ratio: float | None = None
    """Backpropagation over differences, where the two are proportional in every direction."""
    source: Source | None = None
    """The layer's line; of a `stop-gradient` or of `jumps` the line of that operation."""

    @property
    def relative_error(self) -> float:
        """`error` over the larger of the two derivatives; 0 where both are."""
        larger = max(abs(self.analytic), abs(self.numeric))
        return self.error / larger if larger else 0.0


@record
class ElementCheck:
    """One element of a leaf, as textbooks check it: `verify --per-element`."""

    parameter: str
    index: tuple[int, ...]
    verdict: Verdict
    analytic: float
    numeric: float
    uncertainty: float


@record
class RuleCheck:
    """One argument of one `custom_vjp` or `custom_jvp`, checked by itself at the values it really got."""

    function: str
    """As the user named it."""
    kind: str
    """`custom_vjp` or `custom_jvp`."""
    argument: str
    """By its name where the user gave one; empty where no argument could be judged, and where the forward
    half gives other results than the function."""
    verdict: Verdict
    reason: str
    ratio: float | None
    """The rule's derivative over the right one, where the two are proportional: 0.5 for a lost factor 2."""
    relative_error: float
    """rms of the difference over rms of the right derivative; infinite where the rule alone is NaN."""
    uncertainty: float
    """The relative error that rounding and differencing alone explain."""
    uses: int
    """Places in the program from which it is called."""
    source: Source | None = None
    window: float | None = None
    """Of a surrogate, the rule of a function whose own derivative is 0: share of the elements at which it
    gives one that is not 0."""
    reads_its_own: bool = False
    """It differs, and depends on an array that the function takes and does not read."""


@record
class Transposition:
    """Forward against reverse mode: `<u, J v>` by jvp and `<Jᵀ u, v>` by vjp, which needs no step."""

    verdict: Verdict
    reason: str
    forward: float
    reverse: float
    uncertainty: float


@record
class Verification:
    """What `verify` found: the gradient of each leaf, and each custom rule by itself."""

    loss: float
    leaves: tuple[GradientCheck, ...]
    """In forward order."""
    elements: tuple[ElementCheck, ...] = ()
    """Single ones, with `--per-element`."""
    custom_rules: tuple[RuleCheck, ...] = ()
    transposition: Transposition | None = None


@record
class Surrogate:
    """A custom rule that gives a function whose own derivative is 0 another one: a spike, a rounding."""

    function: str
    source: Source | None
    layers: tuple[str, ...]
    """Whose outputs go into it with nothing in between that has parameters; empty where that is not seen."""
    window: float
    """Share of what these layers put out, at the first batch, at which the surrogate is not 0."""
    uses: int
    """Places in the program from which the function is called, with the output of any layer."""


@record
class GradientEnd:
    """An operation to whose result a gradient comes back, and to whose operands exactly none."""

    function: str
    source: Source | None
    layer: str
    """The last one that it is computed from; that of its own weights where it is a product with them."""
    cleared: bool = False
    """It is multiplied by an array of the batch that is 0 everywhere, or one chooses no element of it."""


@record
class LayerAngle:
    """Between the gradient of a layer by the rules of the file and that by backpropagation, on the first
    batch [degrees]: 0 where they point the same way, 90 where they have nothing in common. `None` where one
    of them is 0."""

    layer: str
    start: float | None
    later: float | None
    """After the short training with the rules of the file."""


@record
class HandMadeGradient:
    """Custom rules that read an array of their own: feedback alignment, for instance."""

    function: str
    """The first of them."""
    source: Source | None
    angles: tuple[LayerAngle, ...]
    steps: int
    """Of the short training."""
    batches: int
    """Of the mean losses that follow."""
    start: float
    end: float
    """After the steps, with the rules of the file."""
    end_backpropagated: float
    """With backpropagation in their place."""
    feedback: tuple[str, ...] = ()
    """Parameters that the functions of these rules do not read: no derivative of them is due."""
