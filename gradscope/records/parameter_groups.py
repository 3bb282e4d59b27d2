"""What an optimizer does with which parameters, and what weight decay and penalties cost."""

from __future__ import annotations

import math

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class ParameterGroup:
    """Leaves that the optimizer treats alike.

    Found by asking it for the first step that moves anything, from a fresh state: with made weights of 0, 1
    and 2 and made gradients of 0, of one number and of twice that number in every element.
    """

    leaves: tuple[str, ...]
    size: int
    transform: str
    """What a step makes of a gradient: `proportional` to it, as SGD; `fixed` in size, as Adam's first step;
    `frozen`: nothing; `other`."""
    rate: float | None
    """Of `proportional`: by how much an element falls for each unit of its gradient; of `fixed`: by how much
    it falls. `None` of the others."""
    decayed: bool
    """A gradient of zero still moves the weights towards 0."""
    decay: float | None
    """Share of a weight that this step takes; 0 where there is no decay, `None` where what it takes is not in
    proportion to the weight."""


@record
class UnpenalizedTraining:
    """The same training without the terms of the loss that are functions of the weights alone."""

    source: Source | None
    """Of the first of these terms."""
    share: float
    """Norm of their gradient over that of the rest of the loss, at the start."""
    steps: int
    start: float
    """Mean of the rest of the loss over up to 8 batches, before the first step."""
    end_with: float
    """The same after the last step, trained with these terms and without."""
    end_without: float
    at_zero: float
    """The same where all weights are 0, which is where most penalties lead to."""


@record
class OutweighedTerms:
    """The same training without the entropy of a choice, which reads the batch through the model alone,
    beside terms that are compared with it."""

    source: Source | None
    """Of the first of these terms."""
    share: float
    """Norm of their gradient over that of the rest of the loss, before the first step or after the last one
    of the short training, where it is larger."""
    steps: int
    start: float
    """Mean of the rest of the loss over up to 8 batches, before the first step."""
    end_with: float
    """The same after the last step, trained with these terms and without."""
    end_without: float


@record
class EmptyCode:
    """A penalty on outputs of layers, the same training with less of it, and what those outputs carry."""

    source: Source | None
    """Of the penalty."""
    layers: tuple[str, ...]
    """Whose outputs it is taken of."""
    share: float
    """Norm of its gradient over that of the rest of the loss, of the weights that make these outputs and
    before the first step."""
    steps: int
    start: float
    """Mean of the rest of the loss over up to 8 batches, before the first step."""
    end: float
    """The same after the last step."""
    exchanged: float
    """The same with these outputs exchanged among the rows of each batch."""
    end_with_less: float
    exchanged_with_less: float
    """Both, trained with `less` of the penalty."""
    less: float

    @property
    def carried(self) -> float:
        """What the rest of the loss owes to these outputs being those of the row."""
        return self.exchanged - self.end

    @property
    def carried_with_less(self) -> float:
        return self.exchanged_with_less - self.end_with_less


@record
class DecayRates:
    """What the moving averages of an optimizer keep of themselves at each step, where that of the gradient
    keeps more than the proofs of Adam allow; and the training with the two rates exchanged."""

    first: float
    """Of the average of the gradient, in [0, 1]; measured, to 4 digits."""
    second: float
    """Of that of its square."""
    steps: int = 0
    """0 where nothing was tried."""
    start: float = math.nan
    """Mean loss of the batches; NaN where nothing was tried."""
    end: float = math.nan
    end_exchanged: float = math.nan


@record
class UndecayedTraining:
    """The same training without weight decay: the optimizer sees weights of 0."""

    share: float
    """Norm of what decay adds to a first update, over that of the update without it."""
    decay: float
    """The largest share of a weight that a first step takes; 0 where that is not in proportion to it."""
    steps: int
    start: float
    """Mean loss of up to 8 batches before the first step."""
    end_with: float
    """The same after the last step, with decay and without it."""
    end_without: float
    at_zero: float | None = None
    """The same where all leaves that decay are 0, which is where decay leads to."""
