"""What the training step that a file writes itself does, held against the gradient of its loss."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record

NO_DESCENT = 0.05
"""Cosine of what a step adds and the direction of steepest descent, at or below which it does not descend."""
GROWS = 1.3
"""The last step so many times as long as the first: a learning rate that is warming up."""
HALF = 0.5
"""Of the optimizer's fall of the loss: what longer steps have to reach."""


@record
class SteppedLeaf:
    """One parameter leaf in the steps."""

    name: str
    layer: str
    gradient: bool
    """Whether an element of its gradient is not zero at the first step."""
    moved: bool
    """Whether any of the steps changed one of its bits."""
    as_it_came: bool
    """The step gives back the very array that it is given: no arithmetic stands between."""
    cosine: float | None = None
    """Of what the first step adds and minus the gradient, of this leaf; `None` where either is 0."""


@record
class LostState:
    """An object that the step takes beside the parameters, and that does not go on from step to step."""

    name: str
    """The parameter of the step, or the field of the training state, that it comes in."""
    optimizer: bool
    """It is the state of the optimizer; else a state of the model."""
    returned: bool
    """The step gives it back, as it was; else it does not give it back."""
    read: bool
    """Anything that the step does give back depends on it."""


@record
class StepTrial:
    """The same steps, each so many times as long."""

    factor: float
    end: float


@record
class SameParameters:
    """A loop of the file, read and not run, that gives the step the same parameters again and again."""

    source: Source
    """Of the call."""
    name: str
    """What it gives it."""


@record
class OwnTrainStep:
    name: str
    source: Source | None
    last_line: int
    """Of the function, in the file of `source`; 0 where that is not known."""
    steps: int
    batches: int
    """Different ones, over which the losses here are averaged."""
    returned: bool
    """Whether the parameters come back, or are changed in place."""
    leaves: tuple[SteppedLeaf, ...]
    lost: tuple[LostState, ...]
    cosine: float | None
    """Of what the first step adds and minus the gradient of the loss function; `None` where either is 0."""
    growth: float | None
    """Length of the last step over that of the first, all on one batch; taken where the loss falls far less
    than with the optimizer of the short training."""
    start: float
    end: float
    """Of the loss function, at the start and after the steps; NaN where the parameters do not come back."""
    end_optimizer: float
    """After as many steps of the optimizer of the short training."""
    loop: SameParameters | None = None
    """Where all loops of the file that call the step do so."""
    trials: tuple[StepTrial, ...] = ()
    """Tried where the loss does not fall, or falls by far less than with that optimizer."""

    def holds(self, source: Source) -> bool:
        """Whether that line is one of the function."""
        own = self.source
        return own is not None and own.file == source.file and own.line <= source.line <= self.last_line

    @property
    def handed_back(self) -> tuple[SteppedLeaf, ...]:
        """Leaves with a gradient that come back as they came."""
        return tuple(leaf for leaf in self.leaves if leaf.gradient and leaf.as_it_came)

    @property
    def cure(self) -> StepTrial | None:
        """The last trial, where it trains and the step as it is does not."""
        if not self.trials:
            return None
        last, needed = self.trials[-1], 0.0
        if last.factor > 1:
            needed = HALF * (self.start - self.end_optimizer)
        return last if self.start - last.end > needed else None
