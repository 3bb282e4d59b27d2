"""What the targets of the batches ask for, and an output that is the same for all rows of a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.measure.measurement import rows_of
from gradscope.measure.output_pass import OutputPass
from gradscope.measure.readings import pooled
from gradscope.records import ConstantOutput, LabelShare, Layer
from gradscope.trace.domains.uses import LOOKUPS, arrays_of, uses_of
from gradscope.trace.layers import Row
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import COUNT, RMS, SPREAD
from gradscope.training.row_spread import ALIKE, outside_of_a_product

FEWEST_ROWS = 4
SINGLE = 1.01
"""Largest element over rms, of an output of one unit that is the same for all rows, and rounding."""


def label_shares(program: Program, first: Inputs, batches: Sequence[Any]) -> Iterator[LabelShare]:
    """Of each array with one class for each row, as an integer; or as 0 and 1 in floats, where no other array
    of the batch is a label or a target: then it is no mask.

    Of none where the loss reads other numbers, too, as rewards, times or targets: then a choice among outputs
    is an action, a task or an event.
    """
    flat = [jax.tree.leaves(batch) for batch in batches]
    asked = []
    for found in arrays_of(batches[0], first):
        uses = uses_of(program, found.place)
        if uses.touched and not (uses.is_input or uses.meets_weights) and _measured(flat[0][found.index]):
            return
        if (uses.is_label or uses.is_target) and not uses.is_input:
            asked.append((found, uses, [np.asarray(leaves[found.index]) for leaves in flat]))
    for found, uses, arrays in asked:
        whole = arrays[0].dtype.kind in "iu" or len(asked) == 1
        if not (uses.is_label and whole and all(map(_are_classes, arrays))):
            continue
        values, counts = np.unique(np.concatenate([np.ravel(each) for each in arrays]), return_counts=True)
        shares = counts / counts.sum()
        yield LabelShare(
            name=found.name,
            batches=len(batches),
            rows=int(counts.sum()),
            classes=int(values.size),
            value=float(values[np.argmax(counts)]),
            share=float(shares.max()),
            entropy=float(-np.sum(shares * np.log(shares))),
        )


def _measured(array: Any) -> bool:
    """Numbers of each row, and no mask of 0 and 1."""
    numbers = np.asarray(array)
    if numbers.ndim == 0 or not jnp.issubdtype(numbers.dtype, np.floating):
        return False
    return not np.isin(numbers, (0, 1)).all() and numbers.size > 1


def _are_classes(array: Any) -> bool:
    rows = len(array) if array.ndim else 0
    if not rows or array.size != rows:
        return False
    return array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool(np.isin(array, (0, 1)).all()))


def constant_outputs(
    program: Program,
    layers: Sequence[Layer],
    gradients: Sequence[Any],
    batch: Any,
    inputs: tuple[Inputs, list[Any]],
) -> Iterator[ConstantOutput]:
    """Of the last layers; `layers` are the rows of the table, `gradients` those at the end of the short
    training, and `inputs` those of the first batch and the weights after it.

    Looked at where numbers at hand look like it: a gradient that is a product of two vectors, or one unit of
    which no element is larger than the others.
    """
    first, later = inputs
    deviation = _asked_for(program, first, batch)
    last = [row for layer, row in _last(program, layers) if _looks_constant(program, layer, row, gradients)]
    if deviation is None or not last:
        return
    forward = OutputPass(program, (COUNT, RMS, SPREAD))
    now, then = forward(first), forward(Inputs(later, first.others))
    for row in last:
        site, mask = row.uses[-1]
        found = [each[site.id].at(mask) for each in (now, then)]
        before, after = (float(pooled(SPREAD, [each])) for each in found)
        rms = [float(pooled(RMS, [each])) for each in found]
        if all(map(math.isfinite, (before, after, *rms))) and min(rms) > 0:
            yield ConstantOutput(
                layer=row.name,
                rows=site.value[0],
                before=before / rms[0],
                after=after / rms[1],
                deviation=after,
                asked=deviation,
            )


def _asked_for(program: Program, first: Inputs, batch: Any) -> float | None:
    """Standard deviation of the targets of the first batch over its rows, 1 for classes that differ; `None`
    where they do not differ, or where no array is a target."""
    leaves, found = jax.tree.leaves(batch), list[float]()
    for array in arrays_of(batch, first):
        value, uses = np.asarray(leaves[array.index]), uses_of(program, array.place)
        if uses.is_input or not (uses.is_label or uses.is_target) or value.ndim == 0:
            continue
        wide = value.astype(np.float64).reshape(len(value), -1)
        spread = float(np.sqrt(np.mean(wide.var(axis=0))))
        if math.isfinite(spread) and spread > 0:
            found.append(spread if uses.is_target else 1.0)
    return min(found, default=None)


def _last(program: Program, layers: Sequence[Layer]) -> Iterator[tuple[Layer, Row]]:
    deepest = max((layer.depth or 0 for layer in layers), default=0)
    for layer, (_, row, _) in zip(layers, rows_of(program), strict=True):
        if not row.uses or layer.depth != deepest:
            continue
        site = row.uses[-1][0]
        looked_up = site.op in LOOKUPS  # rows of a weight, and no output
        state = site.op == "state"
        if site.value and site.value[0] >= FEWEST_ROWS and not state and not looked_up and not site.members:
            yield layer, row


def _looks_constant(program: Program, layer: Layer, row: Row, gradients: Sequence[Any]) -> bool:
    """Where all rows are (a, b, ...), the largest element is at most the root of their number times the rms,
    and the gradient of the weight the product of what all rows have in common and a vector."""
    site, rms, top = row.uses[-1][0], layer.activation_rms, layer.activation_max
    units = math.prod(site.value[1:])
    if not rms or top is None or not top <= SINGLE * rms * math.sqrt(units):
        return False
    shapes = {leaf: about.shape for leaf, about in enumerate(program.leaves) if site.leaves >> leaf & 1}
    matrices = [np.asarray(gradients[leaf], np.float64) for leaf, shape in shapes.items() if len(shape) == 2]
    return not matrices or any(outside_of_a_product(each) < ALIKE for each in matrices if each.any())
