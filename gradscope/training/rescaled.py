"""The short training from another start: every layer's output brought to mean 0 and standard deviation 1.

Layer by layer on the first batch, as Mishkin and Matas 2016 (*All you need is a good init*) do it: an
initialization that suits any activation function without knowing it. Where the same steps from there do
better, the scale of the weights is what harms; where they do not, it is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.measure.measurement import rows_of
from gradscope.measure.output_pass import OutputPass
from gradscope.measure.readings import Reading
from gradscope.records import Layer, Measurement, RescaledLayer, RescaledStart, UnitActivity
from gradscope.trace.layers import LayerGroup, Row
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import Site
from gradscope.trace.statistics import COUNT
from gradscope.trace.unit_statistics import SQUARES, SUM
from gradscope.trace.vocabulary import PRODUCTS
from gradscope.training.how_many import steps_of_trial
from gradscope.training.trainer import Trainer

MOST_LAYERS = 32
"""Each is one more run of the forward program."""
MUCH = 0.5
"""Share of a layer's units that are dead, or of its elements that are saturated."""
APART = 1e3
"""Largest over smallest rms of the outputs of hidden layers."""
SMALL, LARGE = 0.01, 100.0
"""rms of such an output: usual initializations of inputs near 0 and 1 give about 1."""
MOSTLY = 0.8
USUAL = 0.5, 2.0
"""Standard deviations that are left as they are, and at most as large an offset."""


def suffers(measured: Measurement, units: Sequence[UnitActivity]) -> bool:
    """Whether the signal shows signs of weights that are too large or too small, or outputs are little more
    than a bias."""
    layers = measured.layers
    if any(max(each.dead / each.units, each.saturated * each.hidden) >= MUCH for each in units):
        return True
    deepest = max((layer.depth or 0 for layer in layers), default=0)
    hidden = [layer for layer in layers if layer.op in PRODUCTS and (layer.depth or 0) < deepest]
    if any(_is_mostly_bias(measured, layer) for layer in hidden):
        return True
    sizes = [layer.activation_rms for layer in hidden if layer.activation_rms]
    if not sizes or not all(map(math.isfinite, sizes)):
        return False
    return max(sizes) > APART * min(sizes) or min(sizes) < SMALL or max(sizes) > LARGE


def _is_mostly_bias(measured: Measurement, layer: Layer) -> bool:
    """What of the output depends on the input is less than `1 - MOSTLY` of its mean square."""
    biases = [leaf for leaf in measured.parameters if leaf.layer == layer.name and len(leaf.shape) == 1]
    output = layer.activation_rms
    return output is not None and len(biases) == 1 and 0 < MOSTLY**0.5 * output <= biases[0].weight_rms


def rescaled_start(made: Trainer, program: Program, steps: int) -> RescaledStart | None:
    """`None` where too few steps were taken to compare, where the network has too many layers to go through
    one after the other, and where no layer changes."""
    rows = [(group, row) for group, row, _ in rows_of(program) if _site(row) is not None]
    count = steps_of_trial(program, steps)
    if count is None or not 0 < len(rows) <= MOST_LAYERS:
        return None
    weights, layers = _rescaled(program, rows, made.feed.at(0, list(made.weights)))
    if not layers:
        return None
    batches = made.feed.used(count)
    there = made.run(count, start=weights).weights
    return RescaledStart(
        layers=tuple(layers),
        steps=count,
        start_without=made.mean_loss(made.weights, batches)[0],
        end_without=made.mean_loss(made.unchanged(count), batches)[0],
        start=made.mean_loss(weights, batches)[0],
        end=made.mean_loss(there, batches)[0],
    )


def _site(row: Row) -> Site | None:
    """Where its only use is a product that is no step of a loop over time."""
    if len(row.uses) != 1:
        return None
    site, mask = row.uses[0]
    return site if site.op in PRODUCTS and not site.backward and mask.sum() == 1 else None


def _rescaled(
    program: Program, rows: Sequence[tuple[LayerGroup, Row]], inputs: Inputs
) -> tuple[list[Any], list[RescaledLayer]]:
    weights, changed = list(inputs.weights), []
    forward = OutputPass(program, (COUNT, SUM, SQUARES))
    found = forward(inputs)
    deepest = max(row.depth or 0 for _, row in rows)
    for group, row in rows:
        site = _site(row)
        assert site is not None
        layer = _standardize(program, group, row, site, found[site.id], weights, last=row.depth == deepest)
        if layer is not None:
            changed.append(layer)
            found = forward(Inputs(weights, inputs.others))
    return weights, changed


def _standardize(
    program: Program,
    group: LayerGroup,
    row: Row,
    site: Site,
    found: Reading,
    weights: list[Any],
    *,
    last: bool,
) -> RescaledLayer | None:
    """Change the weights in place; `None` where the output is as it should be. The `last` layer is only ever
    made smaller: a head that begins at 0 is none too small."""
    here = found.at(row.uses[0][1])
    squares = np.ravel(here.total(SQUARES))
    count = here.count / max(squares.size, 1)
    if not count:
        return None
    means, squares = np.ravel(here.total(SUM)) / count, squares**2 / count
    bias = _bias(program, group, site)
    offset = float(np.sqrt(np.mean(means**2))) if bias is not None else 0.0
    rms = float(np.sqrt(np.mean(squares)))
    deviation = math.sqrt(max(rms**2 - offset**2, 0.0))
    low, high = USUAL
    usual = (low <= deviation or last) and deviation <= high and offset <= high * max(deviation, low)
    if usual or not (math.isfinite(rms) and deviation > 0):
        return None
    for leaf, axes in zip(group.leaves, group.axes, strict=True):
        if not site.leaves >> leaf & 1:
            continue
        at: list[Any] = [slice(None)] * len(program.leaves[leaf].shape)
        for axis, place in zip(axes, row.index, strict=True):
            at[axis] = place
        value = np.asarray(weights[leaf]).copy()
        part = value[tuple(at)].astype(np.float64)
        if leaf == bias:
            part = part - means.reshape(np.shape(part))
        value[tuple(at)] = (part / deviation).astype(value.dtype)
        weights[leaf] = jnp.asarray(value)
    return RescaledLayer(row.name, rms, deviation, offset)


def _bias(program: Program, group: LayerGroup, site: Site) -> int | None:
    """The leaf that adds one number to each unit."""
    units = [site.value[axis] for axis in site.units]
    for leaf, axes in zip(group.leaves, group.axes, strict=True):
        shape = [
            size for axis, size in enumerate(program.leaves[leaf].shape) if axis not in axes and size > 1
        ]
        if site.leaves >> leaf & 1 and shape == units and leaf != _weight(program, group):
            return leaf
    return None


def _weight(program: Program, group: LayerGroup) -> int:
    return max(group.leaves, key=lambda leaf: len(program.leaves[leaf].shape))
