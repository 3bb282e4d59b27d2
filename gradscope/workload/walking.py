"""Every equation that a program runs, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gradscope.footprint.origins import Calls, Spotted
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted, Until
from gradscope.trace.nested.registry import inside
from gradscope.workload.counting import CountedWork, work_of


@dataclass(frozen=True)
class CountedStep:
    """An equation that carries no program."""

    place: Spotted
    work: CountedWork
    """Of one run of it."""
    times: float
    """That it runs."""
    written: float
    """That it runs where the step of a loop counts once: as XLA counts it."""
    opened: int = 0
    """Loops around it of which nobody knows how often they run."""


def steps(
    body: Body, calls: Calls = (), times: float = 1.0, written: float = 1.0, opened: int = 0
) -> Iterator[CountedStep]:
    """Of several branches the one that computes most; a loop whose length only the run knows runs once."""
    for eqn in body.eqns:
        carried = inside(eqn)
        if carried is None:
            work = work_of(eqn)
            if jaxprs.carries_program(eqn):
                work = CountedWork(size=work.size)
                work.uncounted[eqn.primitive.name] += 1
            yield CountedStep(Spotted(eqn, calls), work, times, written, opened)
            continue
        devices = carried.shards.devices if carried.shards else 1
        runs = carried.loop.length if isinstance(carried.loop, Counted) else 1
        below = opened + isinstance(carried.loop, Until)
        found = [
            list(steps(each.body, (eqn, *calls), times * runs * devices, written * devices, below))
            for each in carried.entries
        ]
        yield from max(found, key=lambda branch: sum(s.work.operations * s.times for s in branch), default=[])


def total(body: Body) -> float:
    """Operations of one run."""
    return sum(step.work.operations * step.times for step in steps(body))
