"""How near the operands of each hazard came to where it stops being finite, over all batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.measure.flow import Sample
from gradscope.records import Hazard, HazardForm
from gradscope.trace.domains.intervals import Candidate
from gradscope.trace.probe import float_info
from gradscope.trace.program import Program
from gradscope.trace.sites import Measure
from gradscope.trace.sources import source_of

_DANGER = {Measure.ONE: 1.0, Measure.MINUS_ONE: -1.0}


def measured_hazards(
    program: Program, candidates: Sequence[Candidate], samples: Sequence[Sample]
) -> tuple[Hazard, ...]:
    """Those that ran, in the order of the program; what stands in a branch not taken is left out."""
    owner = program.layer_names
    found = []
    for candidate in candidates:
        seen = [sample.probes[candidate.probe.id] for sample in samples]
        nearest = min(float(np.min(each.nearest)) for each in seen)
        usual = max(float(np.max(each.largest)) for each in seen)
        on_it = sum(int(np.sum(each.on_it)) for each in seen)
        hazard = _hazard(candidate, nearest, usual, on_it, owner)
        if np.isfinite(hazard.distance) or hazard.on_it:
            found.append(hazard)
    return tuple(found)


def _hazard(candidate: Candidate, distance: float, usual: float, on_it: int, owner: dict[int, str]) -> Hazard:
    measure = candidate.measure
    info = float_info(candidate.probe.operands[0].aval.dtype)
    danger = candidate.probe.limit if measure is Measure.OVERFLOW else _DANGER.get(measure, 0.0)
    degree = candidate.operand.rounding
    noise = (2 * float(info.eps)) ** degree * usual if degree else 0.0  # two terms, each with its own error
    site = candidate.operand.site
    return Hazard(
        kind=candidate.kind,
        op=candidate.eqn.primitive.name,
        source=source_of(candidate.eqn, candidate.calls),
        layer=owner.get(site) if site is not None else None,
        nearest=_nearest(measure, danger, distance, float(info.eps)),
        danger=danger,
        distance=distance,
        smallest=_smallest(candidate, info),
        rounding=noise if measure in (Measure.ZERO, Measure.ORIGIN) else 0.0,
        on_it=on_it,
        dtype=str(info.dtype),
        form=_form(candidate),
    )


def _form(candidate: Candidate) -> HazardForm:
    tags = candidate.operand.tags
    if candidate.measure is Measure.MINUS_ONE or HazardForm.COMPLEMENT in tags:
        return HazardForm.COMPLEMENT
    return HazardForm.GATHERED if HazardForm.GATHERED in tags else HazardForm.WHOLE


def _nearest(measure: Measure, danger: float, distance: float, eps: float) -> float:
    if not np.isfinite(distance):
        return danger
    below = measure in (Measure.ONE, Measure.OVERFLOW)
    found = danger - distance if below else danger + distance
    # The distance was taken in the dtype, which knows it to within its spacing at the danger.
    return 0.0 if abs(found) <= eps * abs(danger) else found


def _smallest(candidate: Candidate, info: Any) -> float:
    """Near 1 numbers lie eps / 2 apart; near 0 they go on to the smallest normal one."""
    if candidate.measure is Measure.OVERFLOW:
        return 0.0
    near_one = candidate.measure in (Measure.ONE, Measure.MINUS_ONE) or "complement" in candidate.operand.tags
    return float(info.eps) / 2 if near_one else float(info.tiny)
