"""What the loss makes of the model's outputs and of the batch."""

from __future__ import annotations

import math
from enum import StrEnum

from gradscope.records.common import Source
from gradscope.records.loss_terms import TermImbalance
from gradscope.records.misdirected import MisdirectedCredit
from gradscope.records.record import record


@record
class ExamplePairing:
    """Values of each example that meet those of every other one by broadcasting, and are all summed alike."""

    op: str
    """The primitive that they meet in: `sub`, `mul`, `select_n`."""
    source: Source | None
    layer: str | None
    """The last layer on the way to it."""
    shape: tuple[int, ...]
    """Of the operand with an axis of length one behind its examples."""
    promoted: tuple[int, ...]
    """Of the other operand, before NumPy promoted its rank."""
    result: tuple[int, ...]
    examples: int
    asked: bool
    """The axis of length one was written out: `[:, None]`."""
    targets: bool
    """One of the two depends on the parameters and the other does not."""


class OutputFault(StrEnum):
    """Ways in which an output does not fit what the loss makes of it."""

    NORMALIZED_TWICE = "normalized-twice"
    SINGLE_UNIT = "single-unit"
    OUT_OF_RANGE = "out-of-range"
    NO_MINIMUM = "no-minimum"
    LIKELIHOOD = "likelihood"
    """The log-probability of the labels is minimized."""
    DISTANCE = "distance"
    """The distance of outputs from targets is maximized."""
    SEVERAL_LABELS = "several-labels"
    """A softmax meets rows of 0 and 1 with more than one 1."""
    NOT_BINARY = "not-binary"
    """Targets of a binary cross-entropy are no probabilities."""
    NEVER_NEGATIVE = "never-negative"
    """The scores of classes are those of a ReLU."""
    NO_PROBABILITY = "no-probability"
    """Both logarithms of a binary cross-entropy are of an output that nothing keeps in [0, 1]."""
    OVERLAP = "overlap"
    """Targets of an overlap (Dice, Jaccard) of outputs in [0, 1] are outside of it."""
    WRONG_AXIS = "wrong-axis"
    """A softmax runs over places, and the labels choose among classes."""


@record
class OutputMismatch:
    """An output that cannot be what the loss wants it to be. Numbers are those of all measured batches."""

    fault: OutputFault
    source: Source | None
    layer: str | None
    """The last layer on the way to it."""
    function: str = ""
    """That made the output: `softmax`, `sigmoid`, `tanh`, `ReLU`."""
    applied: str = ""
    """That is applied to it once more."""
    classes: int = 0
    """Along the axis that is normalized; of a wrong axis, those that the labels choose among."""
    axis: int | None = None
    """That is normalized, of a `shape`, where the labels choose along `classes_axis`."""
    classes_axis: int | None = None
    shape: tuple[int, ...] = ()
    low: float = -math.inf
    """End of the output's range."""
    high: float = math.inf
    smallest: float | None = None
    """Of the targets."""
    largest: float | None = None
    outside: float | None = None
    """Share of the targets outside of the output's range, in [0, 1]."""
    unexplained: float | None = None
    """Mean squared distance of the targets from the range, over their variance."""
    class_labels: bool = False
    """The loss chooses the scores of classes: by integers, or by rows with a single 1."""
    parameters: tuple[str, ...] = ()
    """In which the loss is affine."""
    labelled: int = 0
    """Rows with a label, `several` of which have more than one, and none more than `most`."""
    several: int = 0
    most: int = 0


@record
class ClassAverage:
    """Log-probabilities times class labels that are averaged over the classes, too."""

    source: Source | None
    layer: str | None
    classes: int
    factor: float
    """By which the cross-entropy is too small."""


@record
class CrossEntropy:
    """The whole loss, where it is the mean cross-entropy of class labels."""

    source: Source | None
    layer: str | None
    """The last one on the way to the scores."""
    classes: int


@record
class UnsetState:
    """A divisor that is the root of a state no element of which exceeds what keeps it from 0."""

    source: Source | None
    layer: str | None
    size: int
    largest: float
    epsilon: float
    factor: float
    """The smallest number that values are multiplied by."""


@record
class FutureLeak:
    """An output of a model that predicts the next element of a sequence, and depends on later ones."""

    source: Source | None
    """Of that layer, or of the comparison with the targets."""
    layer: str | None
    """The first one whose output changed at positions before those that were replaced."""
    inputs: str
    """The array of the batch; empty where the loss closes over it."""
    targets: str
    """The same name where inputs and targets are cut from one array."""
    position: int
    """Of the output, whose target is the first element that was replaced or one before it."""
    first: int
    """Position in the model's input from which on all was replaced."""
    length: int
    """Positions of the model's input."""
    change: float
    """Largest change of the output at that position."""
    largest: float
    """The same at any position."""
    target: bool
    """It changes with the very element that it has to predict, that one alone replaced."""
    filled: bool = False
    """Weights that are all zero were given small values to look behind them."""
    encoded: bool = False
    """The state at the end of one loop over time begins another, as the code of an encoder does."""
    routed: bool = False
    """A choice of the largest values stands on the way, as in a mixture of experts."""


class BatchMix(StrEnum):
    """How the examples of a batch come to depend on each other."""

    SOFTMAX = "softmax"
    """Over the axis that counts them."""
    RESHAPE = "reshape"
    """Their axis and another one are exchanged without moving the elements."""
    RECURRENCE = "recurrence"
    """Steps of a loop are the examples, and its state goes from one to the next."""


@record
class BatchLeak:
    """The output for one example depends on the others."""

    mix: BatchMix
    source: Source | None
    layer: str | None
    """The last one on the way to it."""
    shape: tuple[int, ...]
    """Of the operand."""
    axis: int
    """Of the examples in it."""
    classes: int | None = None
    """Of a softmax: the axis along which the labels choose."""
    function: str = ""
    result: tuple[int, ...] = ()
    """Of a reshape."""
    places: int = 0
    """Of a recurrence: those of each example that its state has rows for."""
    example: int = 0
    """Of a reshape or a recurrence: whose output changed when every second other one was replaced."""
    change: float | None = None
    """By how much at most."""
    largest: float | None = None
    """The largest change of any output."""


@record
class PaddingLeak:
    """The loss depends on the elements that fill sequences up to one length."""

    source: Source | None
    """Of the comparison with the targets."""
    sequences: str
    """The array of the batch that is filled up; empty where the loss closes over it."""
    said_by: str
    """The mask or the lengths of the batch; empty where the loss computes a mask from the sequences."""
    fillers: int
    elements: int
    """Of all sequences, fillers included."""
    replaced: int
    """Fillers that others were put in the place of."""
    change: float
    """Largest change of an output that belongs to a real element; 0 where only those of fillers changed."""
    loss: float
    other: float
    """The loss with these fillers replaced."""


@record
class IndexRange:
    """Numbers of the batch that choose among fewer places than they ask for."""

    source: Source | None
    layer: str | None
    """Whose parameter they choose from, or the last one on the way to the scores."""
    one_hot: bool
    """They are compared with the numbers of the classes: one that is out of range is a row of zeros. Else
    JAX takes the nearest place."""
    labels: bool
    """They choose among scores of classes, and not rows of a parameter."""
    places: int
    smallest: int
    largest: int
    outside: int
    """How many are out of range, and `values` of how many different values."""
    values: int
    total: int


@record
class Objective:
    """What was read from the program of the loss, and of the data that it gets."""

    example_pairings: tuple[ExamplePairing, ...] = ()
    outputs: tuple[OutputMismatch, ...] = ()
    class_averages: tuple[ClassAverage, ...] = ()
    cross_entropies: tuple[CrossEntropy, ...] = ()
    """One at most."""
    unset_states: tuple[UnsetState, ...] = ()
    imbalances: tuple[TermImbalance, ...] = ()
    future_leaks: tuple[FutureLeak, ...] = ()
    batch_leaks: tuple[BatchLeak, ...] = ()
    padding_leaks: tuple[PaddingLeak, ...] = ()
    linear_layers: tuple[str, ...] = ()
    """Layers, in forward order, that are one affine function of the batch together; of a bottleneck none."""
    index_ranges: tuple[IndexRange, ...] = ()
    """Those that ask for a place that is not there."""
    misdirected: tuple[MisdirectedCredit, ...] = ()
    """Each kind and line once."""
