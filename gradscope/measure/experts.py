"""How routers share rows out among experts, from what the probes of the flow pass counted.

Where an expert gets no row in the measured batches, those of the short training are counted too, and all of
them once more with the weights after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradscope.measure.attention import layer_of
from gradscope.measure.flow import FlowPass, Sample
from gradscope.records import Routing
from gradscope.trace.choices import Choice, Load
from gradscope.trace.domains.routing import Router
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of


def routings_of(
    program: Program,
    routers: Sequence[Router],
    samples: Sequence[Sample],
    flow: FlowPass,
    batches: Sequence[Inputs],
    later: list[Any] | None,
) -> tuple[Routing, ...]:
    """In the order of the program; one for each layer of a stack.

    `batches` are those of `samples`, and then any others; `later` are the weights after a short training.
    """
    first = _all(program, routers, samples)
    if not any(each.idle for each in first) or later is None:
        return first
    more = [flow(each) for each in batches[len(samples) :]]
    found = _all(program, routers, [*samples, *more])
    if not any(each.idle for each in found):
        return found
    after = _all(program, routers, [flow(replace(each, weights=later)) for each in batches])
    return tuple(
        replace(now, loads_later=then.loads) if now.idle else now
        for now, then in zip(found, after, strict=True)
    )


def _all(program: Program, routers: Sequence[Router], samples: Sequence[Sample]) -> tuple[Routing, ...]:
    return tuple(each for router in routers for each in _layers(program, router, samples))


def _layers(program: Program, router: Router, samples: Sequence[Sample]) -> Iterator[Routing]:
    lead, choice = router.probe.lead, router.probe.look
    assert isinstance(choice, Choice)
    every = [Load(*map(np.asarray, sample.probes[router.probe.id])) for sample in samples]
    named: dict[str | None, list[tuple[Any, Any]]] = {}
    for index in np.ndindex(*(axis.length for axis in lead)):
        name = layer_of(program, router.site, lead, index)
        named.setdefault(name, []).extend((run.chosen[index], run.rows[index]) for run in every)
    for name, runs in named.items():
        chosen, rows = (np.sum([run[part] for run in runs], axis=0) for part in (0, 1))
        if rows.max() > 0:
            yield Routing(
                layer=name,
                source=source_of(router.eqn, router.calls),
                chosen=choice.count,
                rows=round(float(rows[0])),
                batches=len(samples),
                loads=tuple(round(float(each)) for each in chosen),
            )
