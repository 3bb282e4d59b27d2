"""How long compiled programs run: medians of several runs, each to its end.

Programs that are compared run in turn: what else the machine does slows down all of them alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import jax

from gradscope.trace.compiling import compile_program

ENOUGH_S = 1.0
"""Of rounds, from `FEWEST` on."""
FEWEST, MOST = 3, 30
SLOW_S = 20.0
"""Of rounds, after which two are enough."""
OFTEN = 1000
"""A training step runs often: it is measured as it is compiled for that."""


@dataclass(frozen=True)
class Times:
    median: float
    low: float
    """A quarter of the runs took no longer."""
    high: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high)


def rounds(runs: Mapping[Any, Callable[[], Any]]) -> dict[Any, list[Any]]:
    """What each of them says, again and again, all of them in turn; the first round does not count."""
    found: dict[Any, list[Any]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    begun = perf_counter()
    for count in range(MOST):
        spent = perf_counter() - begun
        if (count >= FEWEST and spent > ENOUGH_S * len(runs)) or (count >= 2 and spent > SLOW_S):
            break
        for name, run in runs.items():
            found[name].append(run())
    return found


def seconds_of(run: Callable[[], Any]) -> Callable[[], float]:
    """A function that runs it to its end, and says how long that took."""

    def measured() -> float:
        start = perf_counter()
        finish(run())
        return perf_counter() - start

    return measured


def finish(values: Any) -> None:
    jax.block_until_ready(values)  # type: ignore[no-untyped-call]


def empty_call() -> Callable[[], float]:
    """Seconds of a program that does nothing."""
    value = jax.numpy.zeros((), jax.numpy.float32)
    nothing = compile_program(lambda x: x + 1, (value,), runs=OFTEN)
    return seconds_of(lambda: nothing.start(value))
