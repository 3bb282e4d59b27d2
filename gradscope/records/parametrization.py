"""How far a few steps of training move the output of each layer, at several widths of the network."""

from __future__ import annotations

from gradscope.records.record import record


@record
class Exponent:
    """Of a quantity that goes as width^value: 0 where the width does not matter to it."""

    value: float
    low: float
    high: float
    """`low` to `high`: 95 % interval of the least squares fit over all widths and seeds."""


@record
class LayerAtWidth:
    """The output of one layer on the first batch, in one training."""

    width: int
    seed: int
    start: float
    """Its rms before the first step."""
    change: float
    """rms of its difference after the steps, element by element."""


@record
class LayerOverWidths:
    layer: str
    kind: str
    """By which sizes of its weight grow with the width: `hidden` both, `output` the inputs alone, `input` the
    outputs alone, `fixed` none."""
    points: tuple[LayerAtWidth, ...]
    """By width, then by seed."""
    start: Exponent | None = None
    change: Exponent | None = None
    """`None` where no line can be fitted."""
    unjudged: str = ""
    """Why no rule is to judge it: a line through two widths, or through one start at each, says little."""
    rows: int = 0
    """Of its output on the first batch, at the narrowest width."""
    inputs: int = 0
    """Of each output, at the narrowest width."""


@record
class Parametrization:
    """The coordinate check of muP: the same steps of the same optimizer at each width."""

    optimizer: str
    own: bool
    """The file's own optimizer."""
    steps: int
    widths: tuple[int, ...]
    """Rising."""
    parameters: tuple[int, ...]
    """Of the network at each of them."""
    seeds: tuple[int, ...]
    layers: tuple[LayerOverWidths, ...]
    """Those that the network has at each width, in forward order."""
