"""Units of a layer that pass little or nothing back, and a start of the weights that was tried instead."""

from __future__ import annotations

from gradscope.records.record import record


@record
class UnitActivity:
    """How the units of one layer stand to the activation function that its output goes into.

    Looked at where the numbers of the layer give a sign of it, over all elements of the measured batches.
    """

    layer: str
    function: str
    """`relu`, `tanh`, `logistic`, ..."""
    units: int
    """Columns of a matrix, channels of a convolution."""
    elements: int
    """Of each unit: rows, positions, steps."""
    batches: int
    dead: int
    """Units of which every element lies where the derivative of the function is exactly 0."""
    saturated: float
    """Share of all elements where the derivative of the function is below a twentieth of its largest."""
    bound: float | None
    """Elements count as saturated beyond plus or minus this; `None` for a function that is not bounded."""
    hidden: bool
    """A later layer follows: of an output, saturation may be what was learned."""
    dead_later: int | None = None
    """After the short training; `None` without one."""
    saturated_later: float | None = None


@record
class PartlyDeadWeight:
    """A weight of which some units had no gradient on any batch, before and after the short training and with
    all weights drawn anew, while the others have one."""

    layer: str
    parameter: str
    units: int
    """Columns of a matrix, channels of a convolution; of several axes, all combinations."""
    dead: int
    first: int
    """The lowest and the highest number of a dead one."""
    last: int
    batches: int
    draws: int
    """Of all weights."""
    masked: bool = False
    """A constant array of the program has zeros at these units, or at the others, and nowhere else."""


@record
class RescaledLayer:
    """A layer whose output was brought to mean 0 and standard deviation 1."""

    name: str
    rms: float
    """Of its output, as it was met."""
    deviation: float
    """Standard deviation of its output around the mean of each unit, by which its weight was divided."""
    offset: float
    """rms of the means of its units, which its bias took away; 0 where it has none."""


@record
class RescaledStart:
    """The same steps from weights whose layers were rescaled one after the other on the first batch."""

    layers: tuple[RescaledLayer, ...]
    """Those that were changed, in forward order."""
    steps: int
    start_without: float
    end_without: float
    """Mean loss of up to 8 batches before and after as many steps from the weights as they are."""
    start: float
    end: float
    """The same from the rescaled ones."""
