"""The same training with one thing changed, and what each change brought."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.inputs import FillValue
from gradscope.records.record import record


@record
class Intervention:
    """The same training with one thing changed."""

    change: str
    """`none`, `factor` (each update times it) or `master-weights` (kept in float32 between the steps)."""
    factor: float
    steps: int
    start: float
    end: float
    """Mean loss of up to 8 batches before the first and after the last step."""
    error: float = 0.0
    """Standard error of `start`; 0 for one batch."""

    @property
    def size(self) -> float:
        """What a rise or a fall of the loss is measured by."""
        return max(abs(self.start), self.error)

    @property
    def fall(self) -> float:
        return self.start - self.end


@record
class TriedSkips:
    """A stack of layers that nothing goes past, and the same training with residual connections."""

    source: Source | None
    """Of the first output that another one was added to."""
    layers: tuple[str, ...]
    """Of the stack."""
    values: int
    """Outputs to which the one before was added."""
    steps: int
    start_without: float
    end_without: float
    """Mean loss of up to 8 batches before and after as many steps of the program as it is."""
    end_faster: float
    """The same with ten times each update."""
    start: float
    end: float
    """The same with the outputs added."""


@record
class StandardizedArray:
    """The same training with one array of the batches standardized.

    That is less its mean, over its standard deviation in the first batch; by feature where it has two axes,
    or more of which one alone is uneven. Where it has fill values, these are replaced by medians first.
    """

    name: str
    is_input: bool
    """It reaches a matrix product or a convolution; otherwise it is what the loss compares with."""
    rms: float
    off_center: float
    """Largest |mean| over standard deviation of a feature."""
    uneven: float
    """Largest over smallest standard deviation of its features."""
    steps: int
    start_without: float
    end_without: float
    """Mean loss of up to 8 batches before and after as many steps with the array as it is."""
    start: float
    end: float
    """The same with the array standardized."""
    revived: tuple[str, ...] = ()
    """Leaves whose gradient is exactly zero after these steps as it is, and is not with the array
    standardized; looked at where the loss ends lower then."""
    fills: tuple[FillValue, ...] = ()


@record
class TriedOffset:
    """The same training with the mean of a target taken off it, of a program in which every parameter is only
    multiplied with: no bias anywhere."""

    name: str
    source: Source | None
    """Of the last product with a parameter before the target is met."""
    layer: str | None
    mean: float
    """Of the target, in the first batch; the largest of its features."""
    rms: float
    off_center: float
    """Largest |mean| over standard deviation of a feature."""
    steps: int
    start_without: float
    end_without: float
    """Mean loss of up to 8 batches before and after as many steps with the target as it is."""
    start: float
    end: float
    """The same with its mean taken off, as a bias of the output that holds it would do."""


@record
class TriedGradient:
    """The same training with the gradient let through a `stop_gradient` behind which all learning stands.

    Everything that is computed of the batch and meets a parameter that learns has gone through it, and the
    parameters before it are drawn at random.
    """

    source: Source | None
    """Of the `stop_gradient`."""
    leaves: tuple[str, ...]
    """Before it, those that another seed draws otherwise."""
    given: int
    """Numbers of each example that go into what is computed before it."""
    kept: int
    """Numbers that it passes on of each example."""
    steps: int
    longer: int
    """Steps of the program as it is that it is held against: some times as many."""
    start: float
    end_without: float
    """Mean loss of up to 8 batches after as many steps of the program as it is."""
    end_longer: float
    end: float
    """With the gradient let through."""


@record
class DecayedRate:
    """A schedule that makes the updates for one and the same gradient next to nothing within some steps."""

    highest: int
    """The step, from 1, at which they are largest."""
    ended: int
    """The first step from which on they are less than a hundredth of that."""
    steps: int
    start: float
    end: float
    """Mean loss of up to 8 batches before the first and after the last of `steps` steps."""
    end_held: float
    """The same with the schedule held where the updates are largest."""


@record
class WarmUp:
    """What a schedule makes of one and the same gradient at steps far ahead."""

    steps: tuple[int, ...]
    sizes: tuple[float, ...]
    """Largest element of the update at each of them."""

    @property
    def highest(self) -> int:
        """The first of these steps at which the update is largest."""
        return self.steps[self.sizes.index(max(self.sizes))]


@record
class OneBatch:
    """The same optimizer on the first batch alone."""

    steps: int
    start: float
    end: float
    """Its loss before the first and after the last step, with the same random numbers."""
    asked: bool
    """By the user, and not because the loss does not fall."""

    @property
    def fall(self) -> float:
        return self.start - self.end
