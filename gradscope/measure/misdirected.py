"""Credit that a loss sends the wrong way, where the numbers of the batch say that it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace.jaxprs import Body
from gradscope.trace.misdirected import Wiring, wirings
from gradscope.trace.program import Inputs, Program
from gradscope.trace.spliced import Spliced, Spot


def misdirected(program: Program, first: Inputs) -> Iterator[MisdirectedCredit]:
    """The forward program is run once where numbers have to tell."""
    for wiring in wirings(program):
        if not wiring.numbers or _holds(wiring, _values(program, first, wiring.numbers)):
            yield wiring.record


def _holds(wiring: Wiring, numbers: Sequence[np.ndarray[Any, Any]]) -> bool:
    if wiring.record.kind is Misdirection.TARGET:
        return all(bool(((each >= 0) & (each <= 1)).all()) for each in numbers)
    if wiring.record.kind is Misdirection.ENTROPY:
        return any(
            bool((each < 0).any() and (each > 0).any()) and len(np.unique(each)) > 2 for each in numbers
        )
    return any(each.size > 1 and float(np.ptp(each)) > 0 for each in numbers)


def _values(program: Program, first: Inputs, spots: Sequence[Spot]) -> list[np.ndarray[Any, Any]]:
    def run(arguments: list[Any], consts: list[Any]) -> list[Any]:
        return Spliced(spots).outcome(Body(program.body.jaxpr, consts), arguments, {})[1]

    found = jax.jit(run)([*first.weights, *first.others], list(program.body.consts))
    return [np.asarray(jax.device_get(each)).astype(np.float64) for each in found]
