"""What the structure of the program does to rows and places, and what another one was worth."""

from __future__ import annotations

import math

from gradscope.records.common import Source
from gradscope.records.record import record

GAINED = 0.5
"""Of what the steps gain otherwise: the share by which the program as it is stays behind."""
LEFT = 0.5
"""The loss at the end over that of the program as it is; of losses that are not negative."""
CLEAR = 0.05
"""Share of the gain that the two ends have to be apart: below it, losses near 0 differ by chance."""
LEAST = 0.01
"""Of the loss at its start: a variant that falls by less has nothing left to learn, or does not learn it."""
OF_OWN = 0.1
"""Of what the program as it is gains by the same steps: one that gains less has a loss in other units."""


@record
class TriedVariant:
    """The same steps on the same batches from the same weights, with equations of the program exchanged."""

    steps: int
    start_without: float
    end_without: float
    """Mean loss of up to 8 batches before and after as many steps of the program as it is."""
    start: float
    end: float
    """The same of the other one."""

    @property
    def better(self) -> bool:
        """Clearly, at any scale of the loss. Both gains are measured from the lower of the two starts."""
        gain = min(self.start, self.start_without) - self.end
        if not (math.isfinite(gain) and gain > LEAST * abs(self.start)):
            return False
        own = self.start_without - self.end_without
        if math.isfinite(own) and gain < OF_OWN * own and not self._falls_further:
            return False
        behind = self.end_without - self.end
        if not behind < GAINED * gain:
            return True
        return 0 <= self.end <= LEFT * self.end_without and behind >= CLEAR * gain

    @property
    def _falls_further(self) -> bool:
        """In shares of the losses at the start, whose units may differ; of losses that are not negative."""
        if not (self.end >= 0 and self.start > 0 and self.end_without > 0):
            return False
        return self.end * self.start_without <= LEFT * self.end_without * self.start


@record
class TriedScores:
    """The same training with the scores of the classes divided by how far apart they are at the start."""

    source: Source | None
    """Of what makes the scores."""
    deviation: float
    """Standard deviation of the scores of one example, as the root of the mean of its squares."""
    tried: TriedVariant


@record
class HeldMatrices:
    """The optimizer moves vectors alone, each of which begins as a constant, and holds all matrices."""

    matrices: tuple[str, ...]
    """That have a gradient."""
    vectors: tuple[str, ...]
    rate: float
    """Of the Adam that was tried."""
    tried: TriedVariant
    """Adam on everything; without: Adam on the vectors alone."""


@record
class ReshapedAxes:
    """A reshape whose result has the shape of another axis order, and not its elements."""

    source: Source | None
    layer: str | None
    """The last one on the way to it."""
    shape: tuple[int, ...]
    result: tuple[int, ...]
    axis: int
    """Of the operand: the first of those that stand elsewhere in the result."""
    to: int
    """The axis of the result that has its length."""
    axes: int
    """How many neighbours stand elsewhere together: rows and columns of an image."""
    places: int
    """Along them."""
    mixed: int
    """Of that many the elements lie in one place of the result, at most."""
    split: bool
    """An axis of the operand has to be split for it, or one of the result to be merged."""
    written: str
    """What exchanges the axes, as one writes it."""


@record
class ReturnedMessages:
    """Rows that are gathered by an index and summed by the same one."""

    source: Source | None
    """Of the sum."""
    layer: str | None
    """The last one on the way to it."""
    messages: int
    senders: int
    """Different numbers in the index."""
    rows: int
    """That they are gathered from."""


@record
class OrderBlind:
    """A model with attention whose loss stays as it is with the places of its sequences in another order."""

    source: Source | None
    """Where the places come in."""
    places: int
    loss: float
    other: float
    """With the places in another order, in all arrays of the batch that have them."""


@record
class NormalizedPlaces:
    """A value of the model less its mean along some axes, over a root of what is summed along them."""

    source: Source | None
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    """Neither the first, which counts examples, nor the last one."""


@record
class LoneNormalization:
    """A normalization (less the mean, over the deviation) each of whose means is over a single element."""

    source: Source | None
    shape: tuple[int, ...]
    """Of what the mean is taken of."""
    axes: tuple[int, ...]
    """Along which it is taken, of one place each."""
    layers: tuple[str, ...]
    """That it is computed from, in the order of the program."""
    examples: int = 0
    """Of the batch; 0 where it has a single one, or does not tell."""


@record
class DiscardedResult:
    """A call in the user's file whose result goes nowhere, and that does nothing else."""

    source: Source
    function: str
    """As it is written there."""
    kind: str
    """`array` (an update by `.at`), `state` (of Flax), `optimizer`, or `function` of a library."""

    @property
    def is_an_update(self) -> bool:
        """What it makes may be new parameters: a key that is split for nothing is none."""
        return self.kind != "function" or self.function.endswith("apply_updates")


@record
class UntouchedStatistics:
    """A normalization by running variances all of which are exactly 1, where they begin."""

    source: Source | None
    variances: int


@record
class Structure:
    """What was found in the program, and what was tried of it."""

    discarded: tuple[DiscardedResult, ...] = ()
    """In the order of the file."""
    reshapes: tuple[ReshapedAxes, ...] = ()
    """In the order of the program."""
    transposed: TriedVariant | None = None
    """With all of them as reshapes that exchange the axes; `None` where it was not tried."""
    returned_messages: tuple[ReturnedMessages, ...] = ()
    """In the order of the program."""
    received: TriedVariant | None = None
    """With these summed by the one other index that the batch has; `None` where it has none or several."""
    mirrored: TriedVariant | None = None
    """Tried where attention sees what comes later and not what came before: with the mask turned over."""
    not_mirrored: str = ""
    """Why that was not tried, where attention does see so."""
    order_blind: OrderBlind | None = None
    """Looked at where an attention has as many queries as keys."""
    placed: TriedVariant | None = None
    """Of a model that does not know the order: with positions added."""
    normalized: tuple[NormalizedPlaces, ...] = ()
    """In the order of the program."""
    over_features: TriedVariant | None = None
    """With the last axis normalized in all of them."""
    lone: tuple[LoneNormalization, ...] = ()
    """In the order of the program."""
    untouched: tuple[UntouchedStatistics, ...] = ()
    """In the order of the program."""
    over_batch: TriedVariant | None = None
    """With the mean and variance of the batch in the place of all of these."""
