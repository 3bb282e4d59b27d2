"""From the samples of the flow pass to the recurrences: δ of the state of a loop over time, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from gradscope.measure.flow import Sample
from gradscope.measure.readings import Reading
from gradscope.records import Recurrence
from gradscope.trace.layers import LayerGroup
from gradscope.trace.loops import Chain, Loop, norms_of, sites_of
from gradscope.trace.program import Program
from gradscope.trace.read_steps import read_steps
from gradscope.trace.sites import Site
from gradscope.trace.sources import source_of
from gradscope.trace.statistics import Floats, norm


def recurrences_of(loop: Loop, program: Program, samples: Sequence[Sample]) -> Sequence[Recurrence]:
    """One for each state of the loop to which a gradient comes back."""
    source, title = source_of(loop.eqn), name_of(loop)
    found = []
    for state in loop.states:
        deltas = norms_by_step(state, [sample.delta for sample in samples])
        values = norms_by_step(state, [sample.forward for sample in samples])
        if np.all(deltas == 0):
            continue
        count = sum(samples[0].forward[site.id].count for site in sites_of(state)) / len(values)
        found.append(
            Recurrence(
                name=title,
                source=source,
                length=len(deltas),
                layers=tuple(group.name for group in program.layers if _inside(group, loop)),
                delta_norms=tuple(deltas.tolist()),
                state_rms=tuple((values / count**0.5).tolist()),
                function=next((s.activation for s in reversed(loop.sites) if s.activation), None),
                gated=all(stretch.gated for stretch in state),
                added=all(stretch.added for stretch in state),
            )
        )
    if any(each.is_read_once for each in found):
        read = read_steps(program.graph, loop)
        if read is not None:
            found = [replace(each, backward=read.backward, taken_at=read.taken_at) for each in found]
    if len(found) == 1:
        return found
    return [replace(each, name=f"{title}, state {number}") for number, each in enumerate(found)]


def name_of(loop: Loop) -> str:
    source = source_of(loop.eqn)
    return f"scan at {source}" if source else "scan"


def norms_by_step(state: Chain, batches: Sequence[dict[int, Reading]]) -> Floats:
    """f64[steps]: root mean square over the batches."""
    norms = [norms_of(state, _reader(batch)) for batch in batches]
    return np.asarray(norm(np.stack(norms), (0,)) / len(norms) ** 0.5, np.float64)


def _reader(readings: dict[int, Reading]) -> Callable[[Site, Sequence[int]], Floats]:
    return lambda site, axes: readings[site.id].along(axes)


def _inside(group: LayerGroup, loop: Loop) -> bool:
    inside = {site.id for site in loop.sites}
    return any(site.id in inside for site in group.sites)
