"""The batches of a short training, in the order in which the file gives them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.load.usercode.user_code import user_code
from gradscope.trace.program import Inputs, Tracer
from gradscope.training.scales import OddArray

MOST_BYTES = 2**28
MOST_SECONDS = 2.0
"""A loader that takes longer is not asked again: the batches at hand are used once more."""


class StepBatches:
    """The inputs of each step; after the last batch the first one follows, with new random numbers."""

    def __init__(self, problem: Problem, tracer: Tracer, drawn: Sequence[Any], rest: Iterator[Any]) -> None:
        """`rest` goes on after those that were `drawn`; all of them have the same shapes."""
        self._tracer, self._rest = tracer, rest
        self._batches = list(drawn)
        self._shapes = _shapes(tracer.inputs(drawn[0]).others)
        self._bytes, self._seconds = _bytes(drawn), 0.0
        self._key = None if problem.takes_key else problem.key()
        self.stopped: str | None = None
        """Why no further batch is drawn, where the data did not simply end."""

    @property
    def drawn(self) -> Sequence[Any]:
        return self._batches

    @property
    def first(self) -> Any:
        return self._batches[0]

    def at(self, step: int, weights: list[Any], standardized: OddArray | None = None) -> Inputs:
        while len(self._batches) <= step and self._draw():
            pass
        batch = self._batches[step % len(self._batches)]
        others = self._tracer.inputs(batch, step, self._key).others
        if standardized is not None:
            others[standardized.place] = standardized.standardized(others[standardized.place])
        return Inputs(weights, others)

    def used(self, steps: int) -> int:
        """Different batches in so many steps."""
        return min(steps, len(self._batches))

    def _draw(self) -> bool:
        if self.stopped or self._bytes > MOST_BYTES or self._seconds > MOST_SECONDS:
            return False
        begun = time.perf_counter()
        try:
            with user_code("drawing batches"):
                batch = next(self._rest, self)
            same = batch is not self and _shapes(self._tracer.inputs(batch).others) == self._shapes
        except GradscopeError as error:
            self.stopped = error.what
            return False
        self._seconds += time.perf_counter() - begun
        if batch is self:
            return False
        if same:
            self._batches.append(batch)
            self._bytes += _bytes(batch)
        return True


def _shapes(others: Sequence[Any]) -> list[Any]:
    return [(np.shape(leaf), jax.numpy.result_type(leaf)) for leaf in others]


def _bytes(batch: Any) -> int:
    return sum(int(getattr(leaf, "nbytes", 0)) for leaf in jax.tree.leaves(batch))
