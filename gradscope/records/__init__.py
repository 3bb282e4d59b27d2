"""What a run measured and what it found: plain data, standard library only, the seam of the program.

Passes write these records, rules and reporters read them, nobody else's types cross. All numbers are
Python floats and may be NaN or infinite; `None` means "not measured", never zero.
"""

from __future__ import annotations

from gradscope.records.answers import ConstantOutput as ConstantOutput, LabelShare as LabelShare
from gradscope.records.attention import (
    Attention as Attention,
    AttentionHead as AttentionHead,
    WrongAxis as WrongAxis,
    hides_the_past as hides_the_past,
)
from gradscope.records.baseline import (
    BaselineResult as BaselineResult,
    KnownFinding as KnownFinding,
    LayerProfile as LayerProfile,
    Reference as Reference,
)
from gradscope.records.clipping import ClippedStep as ClippedStep
from gradscope.records.common import (
    Excerpt as Excerpt,
    Number as Number,
    Severity as Severity,
    Skipped as Skipped,
    Source as Source,
)
from gradscope.records.communication import Collective as Collective, Communication as Communication
from gradscope.records.comparison import (
    Comparison as Comparison,
    Contestant as Contestant,
    LayerUpdate as LayerUpdate,
    OptimizerAtWidth as OptimizerAtWidth,
    PairOfEnds as PairOfEnds,
    RangeTest as RangeTest,
    RateSearch as RateSearch,
    SeveralStarts as SeveralStarts,
    Trial as Trial,
)
from gradscope.records.correctness import (
    ElementCheck as ElementCheck,
    GradientCheck as GradientCheck,
    GradientEnd as GradientEnd,
    HandMadeGradient as HandMadeGradient,
    LayerAngle as LayerAngle,
    RuleCheck as RuleCheck,
    Surrogate as Surrogate,
    Transposition as Transposition,
    Verdict as Verdict,
    Verification as Verification,
)
from gradscope.records.cost import (
    CompilerCost as CompilerCost,
    Cost as Cost,
    CostGrowth as CostGrowth,
    GrowthPoint as GrowthPoint,
    KindCost as KindCost,
    LayerCost as LayerCost,
    LineCost as LineCost,
    PassCost as PassCost,
    RepeatedBlock as RepeatedBlock,
    UpdateCost as UpdateCost,
)
from gradscope.records.curvature import (
    CriticalStep as CriticalStep,
    Curvature as Curvature,
    DensityBin as DensityBin,
    Eigenvalue as Eigenvalue,
    GaussNewton as GaussNewton,
    GradientStep as GradientStep,
    LayerSharpness as LayerSharpness,
    LinePoint as LinePoint,
    NegativeDirection as NegativeDirection,
    OwnRate as OwnRate,
)
from gradscope.records.equality import IsolatedBranch as IsolatedBranch
from gradscope.records.experts import Routing as Routing
from gradscope.records.finding import (
    BaselineStatus as BaselineStatus,
    Finding as Finding,
    Key as Key,
    Votes as Votes,
)
from gradscope.records.histograms import Histogram as Histogram
from gradscope.records.history import (
    Ending as Ending,
    Extremes as Extremes,
    Heading as Heading,
    History as History,
    LayerHistory as LayerHistory,
    LossRecord as LossRecord,
    RecordedLayer as RecordedLayer,
    StepRecord as StepRecord,
    ValidationRecord as ValidationRecord,
)
from gradscope.records.inputs import (
    AdversarialStep as AdversarialStep,
    FeatureShare as FeatureShare,
    FillValue as FillValue,
    InputGradient as InputGradient,
    NumberedCategories as NumberedCategories,
)
from gradscope.records.interventions import (
    DecayedRate as DecayedRate,
    Intervention as Intervention,
    OneBatch as OneBatch,
    StandardizedArray as StandardizedArray,
    TriedGradient as TriedGradient,
    TriedOffset as TriedOffset,
    TriedSkips as TriedSkips,
    WarmUp as WarmUp,
)
from gradscope.records.leaked import LeakedTarget as LeakedTarget
from gradscope.records.loss_terms import (
    Cancellation as Cancellation,
    LossTerm as LossTerm,
    TermImbalance as TermImbalance,
    ZeroDerivative as ZeroDerivative,
)
from gradscope.records.measurement import Measurement as Measurement
from gradscope.records.memory import (
    Accumulation as Accumulation,
    Checkpointing as Checkpointing,
    CheckpointTrial as CheckpointTrial,
    CompiledMemory as CompiledMemory,
    DerivedOperation as DerivedOperation,
    KeptArray as KeptArray,
    Memory as Memory,
    MemoryByDevice as MemoryByDevice,
    MemoryLimit as MemoryLimit,
)
from gradscope.records.misdirected import (
    MisdirectedCredit as MisdirectedCredit,
    Misdirection as Misdirection,
)
from gradscope.records.network import (
    Connection as Connection,
    Cut as Cut,
    Layer as Layer,
    Parameter as Parameter,
    Recurrence as Recurrence,
)
from gradscope.records.nonfinite import (
    Calculation as Calculation,
    Cause as Cause,
    Hazard as Hazard,
    HazardForm as HazardForm,
    LostInfinity as LostInfinity,
    NonFiniteInput as NonFiniteInput,
    NonFiniteValue as NonFiniteValue,
    Operation as Operation,
    Origin as Origin,
)
from gradscope.records.objective import (
    BatchLeak as BatchLeak,
    BatchMix as BatchMix,
    ClassAverage as ClassAverage,
    CrossEntropy as CrossEntropy,
    ExamplePairing as ExamplePairing,
    FutureLeak as FutureLeak,
    IndexRange as IndexRange,
    Objective as Objective,
    OutputFault as OutputFault,
    OutputMismatch as OutputMismatch,
    PaddingLeak as PaddingLeak,
    UnsetState as UnsetState,
)
from gradscope.records.parameter_groups import (
    DecayRates as DecayRates,
    EmptyCode as EmptyCode,
    OutweighedTerms as OutweighedTerms,
    ParameterGroup as ParameterGroup,
    UndecayedTraining as UndecayedTraining,
    UnpenalizedTraining as UnpenalizedTraining,
)
from gradscope.records.parametrization import (
    Exponent as Exponent,
    LayerAtWidth as LayerAtWidth,
    LayerOverWidths as LayerOverWidths,
    Parametrization as Parametrization,
)
from gradscope.records.policy import Policy as Policy
from gradscope.records.precision import (
    KeptWide as KeptWide,
    LayerInPrecision as LayerInPrecision,
    NarrowSum as NarrowSum,
    Precision as Precision,
)
from gradscope.records.randomness import (
    Dropout as Dropout,
    DropoutTrial as DropoutTrial,
    RepeatedNoise as RepeatedNoise,
    RepeatedNoiseTrial as RepeatedNoiseTrial,
)
from gradscope.records.recurrence import Idleness as Idleness, IdleRecurrence as IdleRecurrence
from gradscope.records.remedies import (
    Chance as Chance,
    Effect as Effect,
    LongerTraining as LongerTraining,
    Remedies as Remedies,
    SeedEnds as SeedEnds,
    TriedRemedy as TriedRemedy,
)
from gradscope.records.replicas import (
    GradientNoise as GradientNoise,
    ReplicaGradients as ReplicaGradients,
    ReplicaLayer as ReplicaLayer,
)
from gradscope.records.report import Report as Report, Timing as Timing, Tool as Tool
from gradscope.records.rounding import RoundedInput as RoundedInput, RoundedTrial as RoundedTrial
from gradscope.records.shards import (
    DivergedReplicas as DivergedReplicas,
    FrozenShard as FrozenShard,
    LocalNorm as LocalNorm,
    ScaledGradient as ScaledGradient,
    ShardDependence as ShardDependence,
    SharedNoise as SharedNoise,
    SummedLoss as SummedLoss,
    UnreducedShard as UnreducedShard,
)
from gradscope.records.structure import (
    DiscardedResult as DiscardedResult,
    HeldMatrices as HeldMatrices,
    LoneNormalization as LoneNormalization,
    NormalizedPlaces as NormalizedPlaces,
    OrderBlind as OrderBlind,
    ReshapedAxes as ReshapedAxes,
    ReturnedMessages as ReturnedMessages,
    Structure as Structure,
    TriedScores as TriedScores,
    TriedVariant as TriedVariant,
    UntouchedStatistics as UntouchedStatistics,
)
from gradscope.records.suite import (
    FailureKind as FailureKind,
    Outcome as Outcome,
    Suite as Suite,
    TargetError as TargetError,
)
from gradscope.records.tasks import (
    LayerAgreement as LayerAgreement,
    LossTask as LossTask,
    TaskGradients as TaskGradients,
    TaskPair as TaskPair,
    TaskSteps as TaskSteps,
)
from gradscope.records.through_time import (
    REMEMBERED as REMEMBERED,
    Contribution as Contribution,
    LayerSteps as LayerSteps,
    StateJacobian as StateJacobian,
    StateMemory as StateMemory,
    TimeCredit as TimeCredit,
    TruncatedGradient as TruncatedGradient,
    Truncation as Truncation,
)
from gradscope.records.train_step import (
    LostState as LostState,
    OwnTrainStep as OwnTrainStep,
    SameParameters as SameParameters,
    SteppedLeaf as SteppedLeaf,
    StepTrial as StepTrial,
)
from gradscope.records.training import (
    ConstantArray as ConstantArray,
    LabelMixing as LabelMixing,
    LayerAfter as LayerAfter,
    LeafUpdate as LeafUpdate,
    RowSpread as RowSpread,
    ShortTraining as ShortTraining,
)
from gradscope.records.units import (
    PartlyDeadWeight as PartlyDeadWeight,
    RescaledLayer as RescaledLayer,
    RescaledStart as RescaledStart,
    UnitActivity as UnitActivity,
)
