"""Which units of a layer are dead or saturated: looked at where the flow pass gives a sign of it.

A layer whose gradient has few zeros has few dead units, and one whose output has a small rms few saturated
ones: a healthy network costs nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradscope.measure.measurement import rows_of
from gradscope.measure.output_pass import OutputPass
from gradscope.measure.readings import Reading
from gradscope.records import Layer, UnitActivity
from gradscope.trace.layers import Row
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import COUNT, Floats, Statistic
from gradscope.trace.unit_statistics import HIGHEST, LOWEST, Beyond

BOUNDS = {"tanh": 2.1783, "logistic": 4.3566, "soft_sign": 3.4721, "hard_tanh": 1.0, "hard_sigmoid": 3.0}
"""Beyond these the derivative of the function is below a twentieth of its largest: |tanh| > 0.975."""
FLAT = {
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "hard_tanh": (-1.0, 1.0),
    "hard_sigmoid": (-3.0, 3.0),
}
"""At and below the first and at and above the second the derivative is exactly 0."""
GATES = frozenset({"logistic", "hard_sigmoid"})
SIGN = 0.3
"""Share of a layer that would have to be dead or saturated for a closer look."""


@dataclass(frozen=True)
class _Suspect:
    layer: Layer
    row: Row
    hidden: bool


def unit_activity(
    program: Program,
    layers: Sequence[Layer],
    inputs: Sequence[Inputs],
    later: list[Any] | None = None,
    gradients: Sequence[Any] | None = None,
) -> Iterator[UnitActivity]:
    """Of each layer with a sign of dead or saturated units, in forward order.

    `layers` are the rows of the table. `later` are the weights after a short training, and `gradients` those
    at its last step: units that die in it give their sign in these.
    """
    deepest = max((layer.depth or 0 for layer in layers), default=0)
    suspects = [
        _Suspect(layer, row, (layer.depth or 0) < deepest)
        for layer, (group, row, _) in zip(layers, rows_of(program), strict=True)
        if (_saturates(layer) and not _gates(row))
        or _dies(layer, [gradients[i] for i in group.leaves] if gradients else [])
    ]
    if not suspects:
        return
    bounds = sorted({BOUNDS[each.layer.activation] for each in suspects if each.layer.activation in BOUNDS})
    beyond = {bound: Beyond(bound) for bound in bounds}
    forward = OutputPass(program, (COUNT, HIGHEST, LOWEST, *beyond.values()))
    now = [forward(each) for each in inputs]
    after = [] if later is None else [forward(replace(each, weights=later)) for each in inputs]
    for suspect in suspects:
        found = _activity(suspect, now, beyond)
        if found is None:
            continue
        then = _activity(suspect, after, beyond) if after else None
        if then is not None:
            found = replace(found, dead_later=then.dead, saturated_later=then.saturated)
        yield found


def _saturates(layer: Layer) -> bool:
    bound = BOUNDS.get(layer.activation or "")
    rms = layer.activation_rms
    return bound is not None and rms is not None and rms >= bound * math.sqrt(SIGN)


def _gates(row: Row) -> bool:
    """A sigmoid that something is multiplied by: open or closed, it does its work."""
    return any(site.gates and site.activation in GATES for site, _ in row.uses)


def _dies(layer: Layer, later: Sequence[Any]) -> bool:
    if layer.activation not in FLAT:
        return False
    return (layer.gradient_zero_share or 0.0) >= SIGN or any(_zero_share(each) >= SIGN for each in later)


def _zero_share(gradient: Any) -> float:
    return 1 - float(np.count_nonzero(np.asarray(gradient))) / gradient.size if gradient.size else 0.0


def _activity(
    suspect: _Suspect, runs: Sequence[dict[int, Reading]], beyond: dict[float, Beyond]
) -> UnitActivity | None:
    """`None` where uses of the layer have other units than each other, or none that can be told apart."""
    layer, function = suspect.layer, suspect.layer.activation
    assert function is not None
    uses = [(site, mask) for site, mask in suspect.row.uses if site.activation == function]
    readings = [run[site.id].at(mask) for run in runs for site, mask in uses]
    highest, lowest = (_of_units(readings, statistic) for statistic in (HIGHEST, LOWEST))
    if highest is None or lowest is None or not highest.size:
        return None
    low, high = FLAT.get(function, (-math.inf, math.inf))
    bound = BOUNDS.get(function)
    elements = sum(reading.count for reading in readings)
    outside = sum(float(reading[beyond[bound]].sum()) for reading in readings) if bound is not None else 0.0
    return UnitActivity(
        layer=layer.name,
        function=function,
        units=highest.size,
        elements=elements // highest.size,
        batches=len(runs),
        dead=int(np.sum((highest <= low) | (lowest >= high))),
        saturated=outside / elements if elements else 0.0,
        bound=bound,
        hidden=suspect.hidden,
    )


def _of_units(readings: Sequence[Reading], statistic: Statistic) -> Floats | None:
    """f64[units]: over all of them."""
    totals = [reading.total(statistic) for reading in readings if reading.count]
    if not totals or len({total.shape for total in totals}) > 1:
        return None
    return np.ravel(statistic.combine(np.stack(totals), (0,)))
