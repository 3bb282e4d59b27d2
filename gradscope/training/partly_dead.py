"""Units of a weight that never get a gradient, although the rest of it does: whatever the weights, on all
batches that were drawn.

A sign of it is a column of a gradient that is exactly zero after the short training. Most such columns are of
the moment: a dead ReLU, a head that starts at zero, a gate that is shut, a relation or a task that this batch
does not have. So the gradient is taken again, on other batches, with all weights drawn anew, and with drawn
data, until every column has had one; what is left has none by the form of the program.
Where the gradient of a draw overflows, nothing is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradscope.measure.measurement import rows_of
from gradscope.peers.placing import put
from gradscope.records import Layer, PartlyDeadWeight
from gradscope.trace import jaxprs
from gradscope.trace.domains.uses import arrays_of
from gradscope.trace.layers import LayerGroup, Row
from gradscope.trace.program import Inputs, Program
from gradscope.trace.vocabulary import PRODUCTS
from gradscope.training.trainer import Trainer
from gradscope.training.trials import USUAL_STEPS

DRAWS = 12
"""Each with its opposite: a unit that is dead in one is alive in the other, or nearly so."""
OWN = 4
"""Batches on which the gradient is taken at the problem's own weights."""
CHOICES = frozenset({"top_k", "approx_top_k", "sort", "argmax", "argmin", "ragged_dot_general"})
BIAS = 0.1
"""Standard deviation of what biases are drawn from, and scales around 1."""


@dataclass
class _Unused:
    row: Row
    leaf: int
    index: tuple[Any, ...]
    """Of the row in the leaf."""
    axes: tuple[int, ...]
    """Of the units, in the leaf."""
    dead: NDArray[np.bool_]
    """By unit: no gradient so far."""

    def look(self, gradients: Sequence[Any]) -> None:
        self.dead &= ~(self.by_unit(gradients[self.leaf]) != 0).any(axis=1)

    def by_unit(self, array: Any) -> NDArray[Any]:
        whole = np.asarray(array)
        fixed = [axis for axis, at in enumerate(self.index) if isinstance(at, int)]
        rest = [axis for axis in range(whole.ndim) if axis not in (*fixed, *self.axes)]
        turned = whole.transpose(*fixed, *self.axes, *rest)[tuple(self.index[axis] for axis in fixed)]
        columns: NDArray[Any] = turned.reshape(self.dead.size, -1)
        return columns


def partly_dead(
    program: Program, layers: Sequence[Layer], made: Trainer, last: Sequence[Any], steps: int
) -> Iterator[PartlyDeadWeight]:
    """In forward order; `layers` are the rows of the table, and `last` the gradients after the training.

    Not looked at in the last layers, whose units the batch may choose among, nor where the program chooses
    by the largest value: what is not chosen has no gradient on that batch.
    """
    if steps < USUAL_STEPS or jax.default_backend() != "cpu":
        return
    suspects = list(_suspects(program, layers, last))
    equations = (each for eqn in program.body.eqns for each in jaxprs.all_equations(eqn))
    if not suspects or any(each.primitive.name in CHOICES for each in equations):
        return
    batches = len(made.feed.drawn)
    for batch in range(min(batches, OWN)):
        _look(suspects, made.flow.gradients(made.feed.at(batch, made.weights)))
    for draw in range(1, DRAWS + 1):
        if not any(each.dead.any() for each in suspects):
            return
        weights = _drawn(program, made.weights, draw)
        inputs = made.feed.at(draw, weights)
        if draw // 2 % 2:
            inputs = _other_data(inputs, made.feed.drawn[0], draw)
        gradients = made.flow.gradients(inputs)
        if not all(np.isfinite(np.asarray(each, np.float32)).all() for each in gradients):
            return
        _look(suspects, gradients)
    masks = list(_constants(program, made))
    for each in suspects:
        dead = np.flatnonzero(each.dead)
        if 0 < dead.size < each.dead.size:
            yield PartlyDeadWeight(
                layer=each.row.name,
                parameter=program.leaves[each.leaf].name,
                units=each.dead.size,
                dead=int(dead.size),
                first=int(dead[0]),
                last=int(dead[-1]),
                batches=batches,
                draws=DRAWS,
                masked=any(_divides_alike(each.dead, mask) for mask in masks),
            )


def _look(suspects: Sequence[_Unused], gradients: Sequence[Any]) -> None:
    for each in suspects:
        each.look(gradients)


def _suspects(program: Program, layers: Sequence[Layer], last: Sequence[Any]) -> Iterator[_Unused]:
    deepest = max((layer.depth or 0 for layer in layers), default=0)
    for layer, (group, row, _) in zip(layers, rows_of(program), strict=True):
        hidden = layer.op in PRODUCTS and (layer.depth or 0) < deepest
        if not hidden or not 0 < (layer.gradient_zero_share or 0.0) < 1:
            continue
        leaf, index = _weight(program, group, row)
        shape = program.leaves[leaf].shape
        for axes in _unit_axes(row, leaf, index, shape):
            units = math.prod(shape[axis] for axis in axes)
            suspect = _Unused(row, leaf, index, axes, np.ones(units, bool))
            suspect.look(last)
            if suspect.dead.any() and _agrees(suspect, program, group, last):
                yield suspect
                break


def _unit_axes(
    row: Row, leaf: int, index: tuple[Any, ...], shape: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """Axes of the leaf that become axes of the output; where a bias stands between, each that may be it."""
    site = row.uses[0][0]
    tracks = {axis: track for (of, axis), track in site.spread.items() if of == leaf and axis >= 0}
    free = [axis for axis in range(len(shape)) if not isinstance(index[axis], int)]
    known = tuple(axis for axis in free if axis in tracks and max(tracks[axis].shape[len(site.lead) :]) > 1)
    if known and len(known) < len(free):
        yield known
    elif not known and len(site.units) == 1:
        yield from ((axis,) for axis in free if shape[axis] == site.value[site.units[0]])


def _agrees(suspect: _Unused, program: Program, group: LayerGroup, gradients: Sequence[Any]) -> bool:
    """A bias of these units has no gradient where they have none: of a square matrix it tells the axis."""
    for leaf, axes in zip(group.leaves, group.axes, strict=True):
        shape = program.leaves[leaf].shape
        if leaf != suspect.leaf and len(shape) == len(axes) + 1 and shape[-1] == suspect.dead.size:
            at = [i for i in suspect.index if isinstance(i, int)]
            found = np.moveaxis(np.asarray(gradients[leaf]), axes, range(len(axes)))[tuple(at)]
            return bool(found.any() and not found[suspect.dead].any())
    return True


def _weight(program: Program, group: LayerGroup, row: Row) -> tuple[int, tuple[Any, ...]]:
    """The largest leaf, and where the row stands in it."""
    place = max(range(len(group.leaves)), key=lambda each: program.leaves[group.leaves[each]].size)
    leaf = group.leaves[place]
    at: list[Any] = [slice(None)] * len(program.leaves[leaf].shape)
    for axis, number in zip(group.axes[place], row.index, strict=True):
        at[axis] = number
    return leaf, tuple(at)


def _drawn(program: Program, weights: Sequence[Any], draw: int) -> list[Any]:
    """Every second draw is the one before with the signs of the matrices turned."""
    rng, sign = np.random.default_rng((draw + 1) // 2), 1 - 2 * (draw % 2)
    drawn = []
    for about, weight in zip(program.leaves, weights, strict=True):
        noise = rng.normal(size=about.shape)
        if len(about.shape) > 1:
            fan_in = max(math.prod(about.shape[:-1]), 1)
            value = sign * noise * math.sqrt(2 / fan_in)
        else:
            value = BIAS * noise + float(np.mean(np.abs(np.asarray(weight, np.float64))) > 2 * BIAS)
        drawn.append(jax.device_put(value.astype(weight.dtype)))
    return drawn


def _other_data(inputs: Inputs, batch: Any, draw: int) -> Inputs:
    """Numbers of the same size and sign, and integers that may go beyond those of the batch."""
    rng, others = np.random.default_rng(draw), list(inputs.others)
    for each in arrays_of(batch, inputs):
        old = others[each.place]
        if any(jnp.issubdtype(old.dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
            place = getattr(old, "sharding", None)
            others[each.place] = put(_like(np.asarray(old), draw, rng), place)
    return replace(inputs, others=others)


def _like(old: NDArray[Any], draw: int, rng: np.random.Generator) -> NDArray[Any]:
    wide = old.astype(np.float64)
    if not old.size or not np.isfinite(wide).all():
        return old
    if old.dtype.kind in "iub" or np.isin(wide, (0, 1)).all():
        top = 1 if wide.max() <= 1 else wide.max() * (1 + draw // 6)
        return rng.integers(int(wide.min(initial=0)), int(top) + 1, old.shape).astype(old.dtype)
    noise = rng.normal(size=old.shape) * (np.sqrt(np.mean(wide**2)) or 1.0)
    return (np.abs(noise) if wide.min() >= 0 else noise).astype(old.dtype)


def _constants(program: Program, made: Trainer) -> Iterator[NDArray[np.bool_]]:
    """Where small arrays that are neither weights nor data are 0, along one axis."""
    inputs = made.feed.at(0, made.weights)
    data = {each.place for each in arrays_of(made.feed.drawn[0], inputs)}
    others = [each for place, each in enumerate(inputs.others[:-1]) if place not in data]
    for each in (*program.body.consts, *others):
        shape = getattr(each, "shape", ())
        numeric = any(jnp.issubdtype(each.dtype, kind) for kind in (np.number, np.bool_)) if shape else False
        if numeric and math.prod(shape) == max(shape) > 1:
            yield np.ravel(np.asarray(each)) == 0


def _divides_alike(dead: NDArray[np.bool_], zero: NDArray[np.bool_]) -> bool:
    """For several numbers at each place of a mask the units are as many times as many, in either order."""
    if dead.size % zero.size or zero.all() or not zero.any():
        return False
    times = dead.size // zero.size
    spread = np.tile(zero, times), np.repeat(zero, times)
    return any(np.array_equal(dead, each) or np.array_equal(dead, ~each) for each in spread)
