"""What `check` measured of one problem."""

from __future__ import annotations

import math
from dataclasses import field

from gradscope.records.attention import Attention
from gradscope.records.common import Skipped
from gradscope.records.correctness import GradientEnd, HandMadeGradient, Surrogate
from gradscope.records.equality import IsolatedBranch
from gradscope.records.experts import Routing
from gradscope.records.histograms import Histogram
from gradscope.records.inputs import AdversarialStep, InputGradient
from gradscope.records.loss_terms import LossTerm
from gradscope.records.network import Layer, Parameter, Recurrence
from gradscope.records.nonfinite import Hazard, LostInfinity, NonFiniteInput, NonFiniteValue, Origin
from gradscope.records.objective import Objective
from gradscope.records.parametrization import Parametrization
from gradscope.records.precision import Precision
from gradscope.records.record import record
from gradscope.records.recurrence import IdleRecurrence
from gradscope.records.replicas import ReplicaGradients
from gradscope.records.shards import (
    DivergedReplicas,
    FrozenShard,
    LocalNorm,
    ScaledGradient,
    ShardDependence,
    SharedNoise,
    SummedLoss,
    UnreducedShard,
)
from gradscope.records.structure import Structure
from gradscope.records.through_time import TimeCredit, Truncation
from gradscope.records.units import UnitActivity


@record
class Measurement:
    """What `check` measured: the flow of the gradient through one problem. Layers stand in forward order."""

    loss: float
    layers: tuple[Layer, ...]
    parameters: tuple[Parameter, ...]
    recurrences: tuple[Recurrence, ...] = ()
    nonfinite_inputs: tuple[NonFiniteInput, ...] = ()
    nonfinite_values: tuple[NonFiniteValue, ...] = ()
    origin: Origin | None = None
    """The first of them; `None` where everything is finite or it could not be found."""
    lost_infinity: LostInfinity | None = None
    """Looked for where a gradient stays exactly zero; `None` where none makes it so."""
    hazards: tuple[Hazard, ...] = ()
    objective: Objective = field(default_factory=Objective)
    structure: Structure = field(default_factory=Structure)
    isolated_branches: tuple[IsolatedBranch, ...] = ()
    """Looked for where the program tests a differentiated value for equality."""
    histograms: tuple[Histogram, ...] = ()
    """By `check --histograms`: of each layer's weights and gradient, in forward order."""
    time_credit: tuple[TimeCredit, ...] = ()
    """By `check --through-time`: of each loop over time that has a gradient, on the first batch."""
    truncation: Truncation | None = None
    """By `check --truncate K`."""
    input_gradients: tuple[InputGradient, ...] = ()
    """By `check --inputs`: of each array of floats that the network takes in."""
    adversarial: AdversarialStep | None = None
    """By `check --inputs`."""
    precision: Precision | None = None
    """By `check --what-if`."""
    replicas: ReplicaGradients | None = None
    """By `check --replicas`."""
    parametrization: Parametrization | None = None
    """By `check --widths`."""
    unreduced: tuple[UnreducedShard, ...] = ()
    """Results that are declared the same on all devices and are not."""
    shared_noise: tuple[SharedNoise, ...] = ()
    """Draws of which all devices have the same for examples of their own."""
    dealt: tuple[ShardDependence, ...] = ()
    """Where the examples of the batch are split over the devices of a `shard_map`."""
    summed_losses: tuple[SummedLoss, ...] = ()
    """Means over the examples of each device that are summed over the devices."""
    frozen_shards: tuple[FrozenShard, ...] = ()
    """Parameters of which a part, on devices of its own, gets no gradient."""
    local_norms: tuple[LocalNorm, ...] = ()
    """In the file's `train_step`."""
    scaled_gradient: ScaledGradient | None = None
    """Of the file's `train_step`; `None` where it is the step of the gradient, or was not compared."""
    diverged: tuple[DivergedReplicas, ...] = ()
    """Parameters and arrays of the batch whose copies on several devices are not equal bit for bit."""
    units: tuple[UnitActivity, ...] = ()
    """Of the layers whose numbers are a sign of dead or saturated units."""
    attentions: tuple[Attention, ...] = ()
    """In the order of the program; of a stack of layers each."""
    routings: tuple[Routing, ...] = ()
    """Of the routers among experts, in the order of the program."""
    copies: tuple[tuple[str, ...], ...] = ()
    """Groups of parameters that are equal bit for bit and hold different numbers."""
    batches: int = 1
    loss_spread: float | None = None
    """Standard deviation of the loss over the batches; `None` with one batch."""
    optimizer_given: bool = False
    unseen: tuple[Skipped, ...] = ()
    """Operations that consume parameters and that gradscope ran without looking inside."""
    custom_rules: int | None = None
    """Custom derivative rules of the user (`custom_vjp`, `custom_jvp`) on the way of the gradient, without
    those that were found right: the flow pass takes what they say for right. `None`: not counted."""
    surrogates: tuple[Surrogate, ...] = ()
    """Of the custom rules of the file, where functions without a derivative have one."""
    gradient_ends: tuple[GradientEnd, ...] = ()
    """Looked for where layers get no gradient at all."""
    idle_recurrences: tuple[IdleRecurrence, ...] = ()
    """In the order of the program."""
    hand_made: HandMadeGradient | None = None
    """Where a custom rule of the file differs from backpropagation by an array of its own."""
    terms: tuple[LossTerm, ...] = ()
    """The summands of the loss, in the order in which they are added."""

    @property
    def gradient_norm(self) -> float:
        """Global norm: what `optax.global_norm` and clipping see."""
        norms = [p.gradient_norm for p in self.parameters]
        return math.nan if any(map(math.isnan, norms)) else math.hypot(*norms)
