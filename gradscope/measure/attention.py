"""What each attention looks at, head by head, from what the probes of the flow pass found."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradscope.measure.flow import Sample
from gradscope.records import Attention, AttentionHead, Skipped, Source
from gradscope.trace.attention_rows import AttentionAxes, AttentionRows
from gradscope.trace.domains.attention import AttentionUse
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.layers import layer_at
from gradscope.trace.made_at import made_at
from gradscope.trace.program import Program
from gradscope.trace.sites import Axis
from gradscope.trace.sources import source_of

OFF = 0.05
"""From 1, that the sum of a row of weights may be: they are rounded to the dtype of the model."""
_OPAQUE = "it runs inside a loop of unknown length or a function with a derivative rule of its own"


def attentions_of(
    program: Program, found: Sequence[AttentionUse], samples: Sequence[Sample]
) -> tuple[Attention, ...]:
    """In the order of the program: one for each layer of a stack, those that ran."""
    return tuple(each for about in found for each in _layers(program, about, samples))


def not_looked_at(found: Sequence[AttentionUse]) -> tuple[Skipped, ...]:
    """Those that have no probe."""
    places = [source_of(about.eqn, about.calls) for about in found if about.probe is None]
    names = (f"attention at {place}" if place is not None else "an attention" for place in places)
    return tuple(Skipped(name, _OPAQUE) for name in dict.fromkeys(names))


def _layers(program: Program, about: AttentionUse, samples: Sequence[Sample]) -> Iterator[Attention]:
    if about.probe is None:
        return
    key = about.probe.id
    every = [
        AttentionRows(*(np.asarray(each, np.float64) for each in sample.probes[key])) for sample in samples
    ]
    lead = about.probe.lead
    named: dict[tuple[str | None, str | None], list[AttentionRows]] = {}
    query, key_layer = about.scores.sites
    for index in np.ndindex(*(axis.length for axis in lead)):
        names = layer_of(program, query, lead, index), layer_of(program, key_layer, lead, index)
        named.setdefault(names, []).extend(AttentionRows(*(each[index] for each in run)) for run in every)
    for both, runs in named.items():
        record = _record(program, about, _pooled(runs))
        if record is not None:
            yield replace(record, name=_common(*both), query=both[0], key=both[1])


def layer_of(program: Program, number: int | None, lead: Sequence[Axis], index: Sequence[int]) -> str | None:
    """The layer of a site at the rows `index` of the loops of a probe; `None` where it is none."""
    steps = [
        axis.length - 1 - place if axis.reverse else place
        for axis, place in zip(lead, index, strict=True)
        if not axis.devices
    ]
    site = next((site for site in program.sites if site.id == number), None)
    if site is None or not any(site is each for group in program.layers for each in group.sites):
        return None
    return layer_at(program.layers, site, steps)


def _common(query: str | None, key: str | None) -> str:
    """The module that both are in: `blocks[0].attention` of its `query` and `key`."""
    if query is None or key is None or query == key:
        return query or key or "attention"
    both = zip(query.split("."), key.split("."), strict=False)
    shared = [part for part, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], both)]
    return ".".join(shared) or f"{query}, {key}"


def _pooled(runs: Sequence[AttentionRows]) -> AttentionRows:
    stacked = AttentionRows(*(np.stack(each) for each in zip(*runs, strict=True)))
    total: dict[str, Any] = {name: value.sum(0) for name, value in stacked._asdict().items()}
    total["largest"] = stacked.largest.max(0)
    total["lowest"], total["highest"] = stacked.lowest.min(0), stacked.highest.max(0)
    return AttentionRows(**total)


def _record(program: Program, about: AttentionUse, rows: AttentionRows) -> Attention | None:
    assert about.probe is not None
    axes, scores = about.probe.look, about.scores
    assert isinstance(axes, AttentionAxes)
    seen = int(rows.seen.sum())
    if not seen:
        return None
    low, high = float(rows.lowest.min()), float(rows.highest.max())
    whole = 1 - OFF < low <= high < 1 + OFF
    return Attention(
        name="",
        source=source_of(scores.eqn, about.calls) or source_of(about.eqn, about.calls),
        weighed=source_of(about.eqn, about.calls),
        query=None,
        key=None,
        width=scores.width,
        factor=scores.factor,
        keys=int(np.prod([axes.shape[axis] for axis in axes.keys])),
        queries=None if axes.query is None else axes.shape[axes.query],
        masked=axes.masked,
        heads=tuple(_head(rows, head, axes.scored) for head in range(axes.head_count)) if whole else (),
        wrong_axis=None if whole else about.wrong_axis,
        lowest_sum=low,
        highest_sum=high,
        rows=seen,
        empty=0 if about.dropped else int(rows.empty.sum()),
        forward=int(rows.forward.sum()),
        backward=int(rows.backward.sum()),
        mask=_mask_line(program, about, axes),
    )


def _mask_line(program: Program, about: AttentionUse, axes: AttentionAxes) -> Source | None:
    """Of the one mask that tells queries and keys apart."""
    if axes.query is None:
        return None
    both = (axes.query, *axes.keys)
    shapes = [(eqn, mask, shape_of(eqn.invars[mask])) for eqn, mask in about.scores.masks]
    over = [
        (eqn, mask)
        for eqn, mask, shape in shapes
        if len(shape) == len(axes.shape) and all(shape[axis] > 1 for axis in both)
    ]
    return made_at(program.body, *over[0]) if len(over) == 1 else None


def _head(rows: AttentionRows, head: int, scored: bool) -> AttentionHead:
    count = int(rows.rows[head])
    share = max(count, 1)
    return AttentionHead(
        rows=count,
        entropy=float(rows.entropy[head] / share),
        slope=float(rows.slope[head] / share),
        sharp=float(rows.sharp[head] / share),
        decided=float(rows.decided[head] / share),
        largest_score=float(rows.largest[head]) if scored else None,
    )
