"""Optimizers measured on one problem: each run, and what the runs of one optimizer say together."""

from __future__ import annotations

from collections.abc import Mapping

from gradscope.records.common import Number
from gradscope.records.record import record


@record
class Trial:
    """One optimizer at one learning rate from one seed."""

    learning_rate: float | None
    """`None` for an optimizer that has none, or that sets its own."""
    seed: int
    losses: tuple[float, ...]
    """The training loss of every step, before that step's update."""
    final_loss: float
    """Mean over the last window of steps; infinite where the run diverged."""
    validation_loss: float | None
    diverged_at: int | None
    """The first step whose loss is not finite, or the last step of a run that ended above where it began."""
    stopped_early: bool
    """Halving left this learning rate behind before the last step."""
    weight_decay: float | None = None
    """`None` where it is not tuned."""
    tuning: bool = False
    """It chose the setting and judges none: its seed is none of `Comparison.seeds`."""


@record
class LayerUpdate:
    """What an optimizer does to one layer on the first batch: medians over the seeds that judge."""

    layer: str
    rms_first: float | None
    """Root mean square of the update at the start of training, at the learning rate without its schedule."""
    rms_last: float | None
    """The same at its end."""
    relative_first: float | None
    """Over the root mean square of the layer's weights; `None` where these are zero."""
    relative_last: float | None
    cosine_first: float | None
    """Of the angle to the negative gradient; `None` where one of the two is zero."""
    cosine_last: float | None


@record
class Contestant:
    """One optimizer over its settings and seeds."""

    name: str
    code: str
    """The line of optax that makes it at the best setting."""
    kind: str
    """`fixed`: one learning rate for all weights. `adaptive`: one per weight. `automatic`: sets its own.
    `own`: the user's, of which nothing is known."""
    usual_rate: float | None
    """The middle of its grid."""
    learning_rate: float | None
    """The best one found: the lowest median over the tuning seeds of the validation loss, else of the final
    loss."""
    final_loss: float
    """Median over the seeds that judge; infinite where half of them diverged."""
    final_low: float
    final_high: float
    validation_loss: float | None
    steps_to_target: float
    """Median over the seeds; infinite where half of them never reach it."""
    seconds_to_target: float
    step_seconds: float
    """Wall-clock time of one step, after compiling: the lower quartile over the chunks of steps."""
    evaluations_per_step: float
    """Evaluations of the loss or its gradient in one step: more than 1 for a line search."""
    state_bytes: int
    state_to_parameters: float
    """Bytes of the optimizer's state over bytes of the parameters."""
    tolerant_decades: float | None
    """Decades of learning rate whose loss stays within tolerance of the best; `None` without a grid."""
    loss_at_tenth: float | None
    """Share of the best's improvement that is lost at a tenth of the best rate; `None` if not measured."""
    loss_at_tenfold: float | None
    diverged_share: float
    """Of the trials that judge."""
    tied_with_best: bool | None
    """The seeds cannot tell it from the first in rank; `None` from one seed, which shows no noise, and where
    nothing lowered the loss."""
    summary: str
    """One sentence: whether it suits this problem, and why."""
    trials: tuple[Trial, ...]
    settings: Mapping[str, Number]
    """Its other hyperparameters, at their documented defaults."""
    tolerant_at_least: bool = False
    """More decades than `tolerant_decades`: at an end of what was tried the loss was still within it."""
    weight_decay: float | None = None
    """The best one found, beside the learning rate; `None` where it has none that is tuned."""
    usual_decay: float | None = None
    """Its default."""
    tried: int = 0
    """Settings of learning rate and weight decay that were tried; 0 where there was nothing to choose."""
    at_edge: tuple[str, ...] = ()
    """`rate`, `decay`: which of them is best at the end of all that was tried; `untried-decay` where all
    settings were spent on the rate."""
    updates: tuple[LayerUpdate, ...] = ()
    """By layer, where they were asked for; empty, too, where every run diverged."""

    @property
    def judged(self) -> tuple[Trial, ...]:
        """The trials whose losses count: at the chosen setting, on the seeds that did not choose it."""
        chosen = (self.learning_rate, self.weight_decay)
        return tuple(
            trial
            for trial in self.trials
            if (trial.learning_rate, trial.weight_decay) == chosen
            and not trial.tuning
            and not trial.stopped_early
        )

    @property
    def tuned(self) -> tuple[Trial, ...]:
        """The trials that chose the setting; where one run stands for all seeds, or none chose, all."""
        return tuple(trial for trial in self.trials if trial.tuning) or self.trials

    def score(self, validated: bool) -> float:
        """What it is ranked by; `validated`: by the loss on the validation batch."""
        if validated and self.validation_loss is not None:
            return self.validation_loss
        return self.final_loss


@record
class PairOfEnds:
    """Two ends of training, and the straight line between them."""

    seeds: tuple[int, int]
    distance: float
    """Euclidean, over the mean norm of the two: about 1.4 for two of equal norm at a right angle."""
    line: tuple[float, ...]
    """The loss at points that lie evenly, from one end to the other."""
    barrier: float
    """The most by which `line` lies above the straight line between the losses of the two ends."""


@record
class SeveralStarts:
    """Where one optimizer ends from several starts."""

    optimizer: str
    seeds: tuple[int, ...]
    """Of the starts that did not diverge; empty where every start is the same."""
    batches: int
    """On which all losses here are measured."""
    loss_before: float
    """Median over the starts."""
    losses: tuple[float, ...]
    """Of each end."""
    pairs: tuple[PairOfEnds, ...]
    diverged: int = 0
    """Starts that are left out."""


@record
class OptimizerAtWidth:
    """One optimizer on a network of one width, tuned there."""

    width: int
    parameters: int
    name: str
    learning_rate: float | None
    weight_decay: float | None
    loss: float
    """What it is ranked by."""
    gain: float | None
    """What it lowers the training loss by, over what `Comparison.reference` does: median over the seeds;
    `None` where that lowers nothing."""
    gain_low: float | None
    gain_high: float | None


@record
class Comparison:
    """Optimizers in the order of their rank, and the terms on which they were compared."""

    contestants: tuple[Contestant, ...]
    target: float
    """The loss whose first crossing is `steps_to_target`."""
    target_is_users: bool
    initial_loss: float
    """Median over the seeds of the loss before the first step."""
    steps: int
    seeds: tuple[int, ...]
    window: int
    """Steps over which a loss is averaged before it is compared."""
    schedule: str
    clip: float | None
    parameters: int
    parameter_bytes: int
    engine: str
    """`step`, `loop` or `vmap`: how the runs were batched, and why."""
    compiled: int
    """Programs that were compiled."""
    recommendation: str
    """The line of optax to paste; empty where nothing improved on the start."""
    reasons: tuple[str, ...]
    """Ties, what it is worth against the user's own optimizer, what could not be said."""
    users: str | None
    """Name of the contestant that is the user's own `optimizer`."""
    profile_scores: Mapping[str, float]
    """AlgoPerf: integral of the performance profile of time to target over ratios from 1 to 4, in [0, 1]."""
    complete: bool = True
    """False where it was interrupted: of some optimizers nothing is known."""
    lacks_floor: bool = False
    """The loss fell far below zero, no slower toward the end and faster the higher the learning rate: the
    lowest loss means nothing, and no optimizer is called the best."""
    budget_spent_s: float | None = None
    """The budget that ended it [s]; `None` where nothing or Ctrl-C did."""
    tuning_seeds: tuple[int, ...] = ()
    """The seeds that chose the settings; those of `seeds` where no seed changes anything."""
    grid: int = 0
    """Learning rates that each optimizer began with."""
    widths: tuple[OptimizerAtWidth, ...] = ()
    """Where several widths were compared: by width, then by rank. All else is of the largest."""
    reference: str = ""
    """The optimizer over which `widths` gain."""
    starts: SeveralStarts | None = None
    """Where it was asked for: the best optimizer from several starts."""

    @property
    def best(self) -> Contestant | None:
        """The first in rank, where any optimizer lowered a loss that has a floor."""
        first = self.contestants[0] if self.contestants and not self.lacks_floor else None
        return first if first and first.final_loss < self.initial_loss else None

    @property
    def undecided(self) -> tuple[Contestant, ...]:
        """Those that the seeds cannot tell from the first in rank."""
        return tuple(row for row in self.contestants if row.tied_with_best)

    @property
    def own(self) -> Contestant | None:
        """The user's own optimizer, where it was compared."""
        return next((row for row in self.contestants if row.name == self.users), None)

    @property
    def validated(self) -> bool:
        """Whether the validation loss decides the rank."""
        return bool(self.contestants) and all(row.validation_loss is not None for row in self.contestants)


@record
class RangeTest:
    """One learning-rate range test: exponential ramp, smoothed loss, stopped at a multiple of the best."""

    seed: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed."""


@record
class RateSearch:
    """What the range tests say: the suggestion and the other readings of the same curves."""

    optimizer: str
    code: str
    """The line of optax that makes it with the suggestion; empty where the loss never fell."""
    suggestion: float
    """A tenth of the rate at the lowest smoothed loss, median over the seeds."""
    low: float
    high: float
    """Smallest and largest over the seeds."""
    others: Mapping[str, float]
    """`valley`, `steepest`: medians over the seeds, for comparison only."""
    tests: tuple[RangeTest, ...]
    step_seconds: float
    warning: str = ""
    is_factor: bool = False
    """The rates are factors before the updates of the user's own optimizer."""
    line: str = ""
    """What to paste: `code` in the form of the file; the learning rate alone, where the user's own optimizer
    has one."""
    own_rate: float | None = None
    """The constant learning rate of the user's own optimizer, where it is known."""

    @property
    def learning_rate(self) -> float | None:
        """The suggestion as a learning rate: `suggestion` may be a factor before one that is not known."""
        if not self.is_factor:
            return self.suggestion
        return None if self.own_rate is None else float(f"{self.suggestion * self.own_rate:.2g}")
