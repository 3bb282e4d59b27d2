"""The first layer whose output has changed where it should not have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradscope.measure.leaks.placing import NdArray, Placement
from gradscope.measure.leaks.trial import Trials, changes
from gradscope.records import Source
from gradscope.trace.domains.data_meetings import DataMeeting
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside
from gradscope.trace.sites import Site
from gradscope.trace.spliced import Spot
from gradscope.trace.walk import Path

LARGEST = 2**30
"""Bytes of all values together, beyond which none is looked at."""


def first_changed_site(
    trials: Trials,
    meetings: Sequence[DataMeeting],
    values: Sequence[Sequence[NdArray]],
    edit: int,
    inputs: Placement,
    first: int,
) -> tuple[str | None, Source | None]:
    """Its name and line. Positions before `first` of what comes in at `meetings` were left as they are."""
    program = trials.program
    sites = [(site, spot) for site in program.sites if (spot := _spot(program.body, site)) is not None]
    sites.sort(key=lambda each: each[0].path)
    if sum(_bytes(site) for site, _ in sites) > LARGEST:
        return None, None
    puts = [(each.path, each.operand) for each in meetings]
    given = [[each[i] for each in values] for i in (0, edit + 1)]
    base, other = trials.values([spot for _, spot in sites], puts, given)
    for (site, _), a, b in zip(sites, base, other, strict=True):
        if _is_early(changes(a, b), inputs, first, trials.tolerance):
            lines = zip(program.layers, program.sources, strict=True)
            owners = ((layer.name, line) for layer, line in lines if site in layer.sites)
            return next(owners, (None, None))
    return None, None


def _is_early(apart: NdArray, inputs: Placement, first: int, tolerance: float) -> bool:
    """No axis as long as the sequence has its first positions unchanged."""
    length = inputs.shape[inputs.axis]
    rows = 0 if inputs.rows is None else inputs.shape[inputs.rows]
    shapes = [apart.shape]
    if apart.ndim and apart.shape[0] == rows * length > length:
        shapes += [(rows, length, *apart.shape[1:]), (length, rows, *apart.shape[1:])]
    moved = apart > tolerance * apart.max(initial=0)
    found = [
        bool(np.moveaxis(moved.reshape(shape), axis, 0)[:first].any())
        for shape in shapes
        for axis, size in enumerate(shape)
        if size == length
    ]
    return bool(found) and all(found)


def _spot(body: Body, site: Site) -> Spot | None:
    """`None` where a loop or a branch is around it."""
    path: Path = site.path[:-1]
    if not path or min(path) < 0:
        return None
    for depth in range(0, len(path) - 1, 2):
        carried = inside(body.eqns[path[depth]])
        if carried is None or not carried.calls:
            return None
        body = carried.entries[path[depth + 1]].body
    return path, -1 - site.position


def _bytes(site: Site) -> int:
    return int(np.prod(site.value, dtype=np.int64)) * 4
