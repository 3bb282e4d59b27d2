"""What a short training of a problem measured: the loss, and what its steps did to each parameter."""

from __future__ import annotations

from collections.abc import Iterable

from gradscope.records.answers import ConstantOutput, LabelShare
from gradscope.records.clipping import ClippedStep
from gradscope.records.inputs import NumberedCategories
from gradscope.records.interventions import (
    DecayedRate,
    Intervention,
    OneBatch,
    StandardizedArray,
    TriedGradient,
    TriedOffset,
    TriedSkips,
    WarmUp,
)
from gradscope.records.leaked import LeakedTarget
from gradscope.records.parameter_groups import (
    DecayRates,
    EmptyCode,
    OutweighedTerms,
    ParameterGroup,
    UndecayedTraining,
    UnpenalizedTraining,
)
from gradscope.records.randomness import Dropout, RepeatedNoise
from gradscope.records.record import record
from gradscope.records.replicas import GradientNoise
from gradscope.records.rounding import RoundedInput
from gradscope.records.structure import HeldMatrices, TriedScores
from gradscope.records.tasks import TaskGradients
from gradscope.records.train_step import OwnTrainStep
from gradscope.records.units import PartlyDeadWeight, RescaledStart

SMALLEST_PART = 4.0**-6
"""Of the first update, that is tried for the critical step."""
GROWING = 2.0
"""A later update so many times that of the last step: the schedule is still warming up."""
SMALL, LARGE = 0.05, 10.0
"""rms beyond which the numbers of an array are called small or large; standardized ones have 1."""
OFF_CENTER = 3.0
"""|mean| over standard deviation."""
UNEVEN = 100.0
"""Largest over smallest standard deviation of the features of one array."""
FAR_ABOVE, STILL_ABOVE = 30.0, 10.0
"""Times the cross-entropy of equal probabilities, before and after the short training."""
LATER_STEPS = 1000
"""Steps of the optimizer alone after which one that moves nothing is taken to move nothing ever."""


@record
class LeafUpdate:
    """What the steps of an optimizer did to one parameter leaf."""

    name: str
    layer: str
    dtype: str
    size: int
    gradient: bool
    """Whether an element of its gradient was not zero at any step."""
    moved: bool
    """Whether the optimizer added anything but zero to it at any step."""
    unchanged_share: float
    """Of the elements to which the optimizer added something other than zero, over all steps: the share whose
    bits stayed as they were, in [0, 1]."""
    arrived_share: float
    """Inner product of what was added, rounded to the dtype of the leaf, and what the optimizer asked for,
    over the square of the latter: 1 where nothing is lost. NaN where nothing was asked for."""
    ascent: float | None = None
    """Cosine of the update and the gradient at a first step from a fresh state, without what the optimizer
    adds to a gradient of zero (decay, noise): above 0 the step goes up the gradient. `None` where either is
    zero."""
    raw: bool = False
    """That update is the gradient itself, bit for bit."""
    equal_units: int = 0
    """Units that are equal to each other, bit for bit, before and after the steps; 0 where they are not."""


@record
class LabelMixing:
    """How the classes are spread over the batches: of an array with one integer for each row."""

    name: str
    batches: int
    classes: int
    """In all of them together."""
    in_a_batch: float
    """Different classes in a batch, on average."""
    expected: float
    """The same of rows that are drawn at random from all of them."""


@record
class ConstantArray:
    """An array of the batch of which all rows are equal, in all batches that were drawn."""

    name: str
    labels: bool
    """It chooses among outputs; else it goes into the network, and all that does is constant."""
    batches: int
    rows: int
    """In all of them."""
    value: float | None = None
    """Of labels."""


@record
class LayerAfter:
    """A layer after the steps, measured as those of the table before them, on the same batches."""

    layer: str
    activation_rms: float | None
    delta_rms: float | None
    gradient_rms: float
    weight_rms: float


@record
class RowSpread:
    """How unlike the rows of a batch are in the output of a layer.

    That is the rms of what is left of each element without its mean over the rows, over the rms of the
    output: 0 where all rows are alike, at most 1.
    """

    layer: str
    before: float
    """At the first step."""
    after: float
    """After the last one."""
    direction_before: float = 1.0
    """The same of rows that are each brought to one length: 0 where all point in one direction."""
    direction_after: float = 1.0


@record
class ShortTraining:
    """A short training with the optimizer of the problem, or with Adam where it has none."""

    optimizer: str
    """`your optimizer`, or the one that was taken instead: `adam(0.001)`."""
    own: bool
    """Whether it is the problem's own."""
    restored: bool
    """Whether it went on from a state that the problem brings along."""
    steps: int
    losses: tuple[float, ...]
    """Of each step's batch, before the step."""
    start: float
    end: float
    """Loss of the first batch, with the same random numbers, before the first and after the last step."""
    batches: int
    """Different batches that were used."""
    leaves: tuple[LeafUpdate, ...]
    update_max: float
    """Largest element that any step added to a parameter."""
    fresh_update_max: float
    """The same of the first step from a fresh state of the optimizer."""
    groups: tuple[ParameterGroup, ...] = ()
    """What the problem's own optimizer does with which leaves; empty where it could not be told apart."""
    bad_batch: int | None = None
    """The batch, from 1, at which the losses of the steps stop being finite, where at the parameters of the
    start its loss is not finite, either."""
    unpenalized: UnpenalizedTraining | None = None
    """Tried where penalties on the weights have a larger gradient than the rest of the loss."""
    tasks: TaskGradients | None = None
    """Where the loss has two summands or more that are tasks of their own."""
    outweighed: OutweighedTerms | None = None
    """Tried where the entropy of a choice has at least half the gradient of the rest of the loss."""
    empty_code: EmptyCode | None = None
    """Tried where a penalty on outputs of layers has at least half the gradient of the rest at the start."""
    decay_rates: DecayRates | None = None
    """Where the average of the gradient keeps more of itself than the root of what its square's keeps."""
    undecayed: UndecayedTraining | None = None
    """Tried where weight decay is strong, and weights enter the updates by it alone."""
    clipped: tuple[ClippedStep, ...] = ()
    """The first step and the last one, where the optimizer lets through a small part of both gradients."""
    trials: tuple[Intervention, ...] = ()
    after: tuple[LayerAfter, ...] = ()
    """In the order of the table; empty where the loss after the steps is not finite."""
    one_batch: OneBatch | None = None
    """Looked at where the loss does not fall, or where it was asked for."""
    standardized: tuple[StandardizedArray, ...] = ()
    """By array of the batch whose numbers are far from 0 and 1."""
    let_through: TriedGradient | None = None
    """Tried where a `stop_gradient` stands between parts drawn at random and all that learns."""
    scores: TriedScores | None = None
    """Tried where a cross-entropy begins far above that of equal probabilities, and does not come down."""
    offsets: tuple[TriedOffset, ...] = ()
    """By target that is far from 0, of a program without a bias."""
    rounded: tuple[RoundedInput, ...] = ()
    """Casts before any parameter that make numbers equal which the network has to tell apart."""
    dropouts: tuple[Dropout, ...] = ()
    """Those of the output, and those that keep little, in the order of the program."""
    repeated_noise: tuple[RepeatedNoise, ...] = ()
    """Random numbers for each example that are the same at every step, in the order of the program."""
    skips: TriedSkips | None = None
    """Tried of a deep stack that no residual connection leads around, where the loss hardly falls."""
    leaked: LeakedTarget | None = None
    """The target among the inputs of the model."""
    categories: tuple[NumberedCategories, ...] = ()
    """By column of whole numbers among the inputs."""
    held_matrices: HeldMatrices | None = None
    """Tried where the optimizer moves nothing but vectors that begin as constants."""
    own_step: OwnTrainStep | None = None
    """What the training step that the file writes itself does; `None` where it writes none."""
    labels: tuple[LabelMixing, ...] = ()
    """By array of labels, where there are several batches."""
    shares: tuple[LabelShare, ...] = ()
    """By array of labels."""
    outputs: tuple[ConstantOutput, ...] = ()
    """Of last layers whose numbers look as if all rows had the same output."""
    warm_up: WarmUp | None = None
    """Looked at where updates still grow."""
    decayed_rate: DecayedRate | None = None
    """Looked at where the last update is far smaller than the largest one."""
    noise: GradientNoise | None = None
    """Looked at where the loss hardly falls, with four batches and more."""
    critical: float | None = None
    """The largest part of the first update that was tried along which the loss of the first batch does not
    rise; 0 where it rises along all of them, `None` where the loss falls and nobody looked."""
    rescaled: RescaledStart | None = None
    """The same steps from rescaled weights, where layers were met that are dead, saturated or of very
    different size; `None` where nothing called for it."""
    constant: tuple[ConstantArray, ...] = ()
    """Labels of one class, and inputs that are all the same."""
    spreads: tuple[RowSpread, ...] = ()
    """Of the layers with as many rows as the last one, in forward order; taken where the gradients are such
    as rows give that are all alike."""
    partly_dead: tuple[PartlyDeadWeight, ...] = ()
    """In forward order; looked for where a gradient has columns that are exactly zero."""
    still_steps: int = 0
    """Further steps of the optimizer alone, at the last gradient, tried where no parameter moved."""
    moves_at: int | None = None
    """The first of all these steps that moves a parameter, counted from 1; `None` where none does."""
    growth: float | None = None
    """Largest update in further steps of the optimizer alone, over that of the last step: a learning rate
    that is still warming up. `None` where it was not looked at."""

    def trial(self, change: str, factor: float = 1.0, steps: int | None = None) -> Intervention | None:
        """The first with this change; `none` is what the others are held against."""
        same = (each for each in self.trials if (each.change, each.factor) == (change, factor))
        return next((each for each in same if steps in (None, each.steps)), None)

    def group_of(self, leaf: str) -> ParameterGroup | None:
        return next((group for group in self.groups if leaf in group.leaves), None)

    @property
    def layers(self) -> tuple[str, ...]:
        """Of all leaves, each once."""
        return layers_of(self.leaves)

    @property
    def warming_up(self) -> bool:
        return self.growth is not None and self.growth >= GROWING

    @property
    def fall(self) -> float:
        return self.start - self.end


def layers_of(leaves: Iterable[LeafUpdate]) -> tuple[str, ...]:
    """Each once, in the order of the leaves."""
    return tuple(dict.fromkeys(leaf.layer for leaf in leaves))
