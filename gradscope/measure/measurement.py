"""From the samples of the flow pass to the records: layers, parameters, recurrences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.measure.flow import Sample
from gradscope.measure.readings import Reading, pooled
from gradscope.measure.recurrences import recurrences_of
from gradscope.records import (
    Layer,
    LostInfinity,
    Measurement,
    NonFiniteInput,
    NonFiniteValue,
    Origin,
    Parameter,
    Skipped,
    Source,
)
from gradscope.trace.layers import LayerGroup, Mask, Row
from gradscope.trace.loops import step_of
from gradscope.trace.program import Program
from gradscope.trace.sites import Site
from gradscope.trace.sources import source_of
from gradscope.trace.statistics import COUNT, FLOW, MAX, NONZERO, RMS, Floats, norm


@dataclass(frozen=True)
class Taken:
    """Everything measured of one problem: the parameters, and one sample per batch."""

    program: Program
    weights: Sequence[Reading]
    nonfinite_weights: Sequence[int]
    """By leaf: elements that are NaN or infinite."""
    nonfinite_inputs: tuple[NonFiniteInput, ...]
    origin: Origin | None
    lost_infinity: LostInfinity | None
    unfound: tuple[Skipped, ...]
    """Why the origin was not found, where it was looked for."""
    nonfinite_gradients: Sequence[Floats] | None
    """By leaf, for the first batch with a non-finite value: elements that are NaN or infinite."""
    samples: Sequence[Sample]
    updates: Sequence[Reading] | None
    """By leaf: what the problem's optimizer asks for at its first step; `None` where that was not tried."""
    nonzero_after_steps: dict[int, Mask]
    """By leaf with a gradient of exactly zero, and by row of its stack: was it non-zero a few steps later?"""
    optimizer_given: bool

    def gradient(self, leaf: int) -> list[Reading]:
        return [sample.gradients[leaf] for sample in self.samples]


def measurement(taken: Taken) -> Measurement:
    losses = [sample.loss for sample in taken.samples]
    return Measurement(
        loss=float(np.mean(losses)),
        layers=tuple(_layers(taken)),
        parameters=tuple(_parameter(taken, group, leaf) for group, leaf in _by_leaf(taken.program)),
        recurrences=tuple(
            each
            for loop in taken.program.loops
            for each in recurrences_of(loop, taken.program, taken.samples)
        ),
        nonfinite_inputs=taken.nonfinite_inputs,
        nonfinite_values=tuple(_nonfinite_values(taken)),
        origin=taken.origin,
        lost_infinity=taken.lost_infinity,
        batches=len(losses),
        loss_spread=float(np.std(losses)) if len(losses) > 1 else None,
        optimizer_given=taken.optimizer_given,
        unseen=taken.program.unseen,
    )


def _by_leaf(program: Program) -> list[tuple[LayerGroup, int]]:
    pairs = [(group, leaf) for group in program.layers for leaf in group.leaves]
    return sorted(pairs, key=lambda pair: pair[1])


def _parameter(taken: Taken, group: LayerGroup, leaf: int) -> Parameter:
    about, found = taken.program.leaves[leaf], taken.gradient(leaf)
    return Parameter(
        name=about.name,
        layer=group.name,
        shape=about.shape,
        dtype=about.dtype,
        size=about.size,
        connection=taken.program.connections[leaf],
        weight_rms=pooled(RMS, [taken.weights[leaf]]),
        weight_nonfinite=taken.nonfinite_weights[leaf],
        gradient_rms=pooled(RMS, found),
        gradient_norm=_mean_norm(found),
        gradient_max=pooled(MAX, found),
        update_rms=None if taken.updates is None else pooled(RMS, [taken.updates[leaf]]),
        cuts=taken.program.cuts[leaf],
        nonzero_after_steps=_alive_later(taken, [leaf]) if pooled(MAX, found) == 0 else None,
    )


def _mean_norm(parts: list[Reading]) -> float:
    """Root mean square over the batches of the norm."""
    return float(norm(np.array([part.norm for part in parts])) / np.sqrt(max(len(parts), 1)))


def _layers(taken: Taken) -> list[Layer]:
    """In the order in which they run: the blocks of a stack one after the other, each with all its layers."""
    return [_layer(taken, *each) for each in rows_of(taken.program)]


def rows_of(program: Program) -> list[tuple[LayerGroup, Row, Source | None]]:
    """The rows of every table, in the order in which they run."""
    named = zip(program.layers, program.sources, strict=True)
    rows = [(group, row, source) for group, source in named for row in group.rows()]
    rows.sort(key=lambda each: (not each[1].uses, each[1].order))
    return rows


def weight_of(program: Program, group: LayerGroup, weights: Sequence[Reading]) -> int:
    """Which of the leaves of a layer is its weight, by their place in it; `weights` are those of the row."""
    shapes = [program.leaves[leaf].shape for leaf in group.leaves]
    return max(
        range(len(shapes)),
        # Of a scale and a bias of the same size, the one that multiplies: a bias begins at 0.
        key=lambda place: (weights[place].count, len(shapes[place]), pooled(RMS, [weights[place]])),
    )


def _layer(taken: Taken, group: LayerGroup, row: Row, source: Source | None) -> Layer:
    def of_leaf(reading: Reading) -> Reading:
        return reading.at(row.index)

    leaves = [taken.program.leaves[leaf] for leaf in group.leaves]
    weights = [of_leaf(taken.weights[leaf]) for leaf in group.leaves]
    by_batch = [[of_leaf(sample.gradients[leaf]) for leaf in group.leaves] for sample in taken.samples]
    gradients = [reading for batch in by_batch for reading in batch]
    weight = weight_of(taken.program, group, weights)
    update = None if taken.updates is None else of_leaf(taken.updates[group.leaves[weight]])
    nonzero = pooled(NONZERO, gradients)
    norms = np.array([float(norm(np.array([m.norm for m in batch]))) for batch in by_batch])
    sites = [site for site, _ in row.uses]
    first = min(sites, key=lambda site: site.depth) if sites else None
    return Layer(
        name=row.name,
        parameters=tuple(leaf.name for leaf in leaves),
        size=sum(weight.count for weight in weights),
        source=source,
        weight_rms=pooled(RMS, [weights[weight]]),
        gradient_rms=pooled(RMS, [batch[weight] for batch in by_batch]),
        gradient_norm=float(norm(norms)) / len(norms) ** 0.5,
        gradient_max=pooled(MAX, gradients),
        update_rms=None if update is None else pooled(RMS, [update]),
        gradient_zero_share=None if nonzero is None else 1.0 - nonzero,
        gradient_nonfinite_share=_nonfinite_share(taken, group, row),
        **_output(taken, row),
        depth=row.depth,
        op=first.op if first else None,
        fan_in=first.fan_in if first else None,
        activation=next((site.activation for site in sites if site.activation), None),
        kind=leaves[0].kind,
        uses=max(len(sites), 1),
        nonzero_after_steps=_alive_later(taken, group.leaves, row.index)
        if pooled(MAX, gradients) == 0
        else None,
        gradient_norm_spread=_spread(norms),
    )


def _alive_later(taken: Taken, leaves: Sequence[int], row: tuple[int, ...] = ()) -> bool | None:
    looked = [taken.nonzero_after_steps[leaf][row] for leaf in leaves if leaf in taken.nonzero_after_steps]
    return any(bool(np.any(alive)) for alive in looked) if looked else None


def _spread(norms: Floats) -> float | None:
    if len(norms) < 2:
        return None
    mean = float(np.mean(norms))
    return float(np.std(norms)) / mean if mean else 0.0


def _nonfinite_share(taken: Taken, group: LayerGroup, row: Row) -> float:
    """On the first batch that had any."""
    if taken.nonfinite_gradients is None:
        return 0.0
    bad = sum(float(taken.nonfinite_gradients[leaf][row.index]) for leaf in group.leaves)
    size = sum(taken.program.leaves[leaf].size for leaf in group.leaves) // math.prod(group.stack)
    return bad / size if size else 0.0


def _output(taken: Taken, row: Row) -> dict[str, Any]:
    """The value that the layer produces and its δ, pooled over its uses, steps and batches.

    Nothing where it was never computed. Uses to which no gradient comes back (a teacher that shares the
    weights) do not dilute δ.
    """
    live = [use for use in row.uses if use[0].live] or row.uses
    forward = [sample.forward[site.id].at(mask) for sample in taken.samples for site, mask in row.uses]
    delta = [sample.delta[site.id].at(mask) for sample in taken.samples for site, mask in live]
    if not any(part.count for part in forward):
        return {}
    return {
        **{f"activation_{each.name}": pooled(each, forward) for each in FLOW.value if each is not COUNT},
        **{f"delta_{each.name}": pooled(each, delta) for each in FLOW.delta},
        "delta_norm": _mean_norm([part for part in delta if part.count]),
    }


def _nonfinite_values(taken: Taken) -> list[NonFiniteValue]:
    """Outputs in the order of execution, then δ from the loss back."""
    owners: dict[int, list[tuple[Row, Mask]]] = {}
    for group in taken.program.layers:
        for row in group.rows():
            for site, mask in row.uses:
                owners.setdefault(site.id, []).append((row, mask))
    found = []
    for forward in (True, False):
        order = taken.program.sites if forward else tuple(reversed(taken.program.sites))
        for site in order:
            found.extend(_nonfinite_value(taken, site, owners.get(site.id, []), forward))
    return found


def _nonfinite_value(
    taken: Taken, site: Site, owners: list[tuple[Row, Mask]], forward: bool
) -> list[NonFiniteValue]:
    """The layer at the first step of the loops where it is not finite, or at the last one for δ."""
    parts = [(sample.forward if forward else sample.delta)[site.id][MAX] for sample in taken.samples]
    bad = np.asarray(~np.isfinite(np.stack(parts)).all(axis=0))
    if not bad.any() or not owners:
        return []
    turned = tuple(axis for axis, about in enumerate(site.lead) if about.reverse)
    in_order = np.argwhere(np.flip(bad, turned))
    place = in_order[0 if forward else -1]
    row = next((r for r, mask in owners if np.flip(mask, turned)[tuple(place)]), owners[0][0])
    told = {axis for track in site.places.values() for axis, size in enumerate(track.shape) if size > 1}
    step = step_of(taken.program.loops, site, place, told)
    return [NonFiniteValue(row.name, forward, source_of(site.eqn, site.calls), step)]
