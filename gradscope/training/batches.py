"""The batches of a short training, in the order in which the file gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.load.usercode.user_code import user_code
from gradscope.records import Skipped
from gradscope.trace.program import Inputs, Tracer
from gradscope.trace.stream import form_of, passed_over
from gradscope.training.scales import OddArray

MOST_BATCHES = 8
"""Different ones that are drawn: a loader may take its time over each."""
MOST_BYTES = 2**28


class StepBatches:
    """The inputs of each step; after the last batch the first one follows, with new random numbers."""

    def __init__(self, problem: Problem, tracer: Tracer, drawn: Sequence[Any], rest: Iterator[Any]) -> None:
        """`rest` goes on after those that were `drawn`; all of them have the same form."""
        self._tracer = tracer
        self.drawn = list(drawn)
        self.other_forms = 0
        """Batches that were passed over, as the program of the first one does not fit them."""
        self.stopped: str | None = None
        """Why no further batch was drawn, where the data did not simply end."""
        self._key = None if problem.takes_key else problem.key()
        self._draw(rest)

    @property
    def rows(self) -> int | None:
        """Of a batch: the length of the first axis that its arrays share."""
        lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(self.drawn[0]) if np.ndim(leaf)}
        return int(next(iter(lengths))[0]) if len(lengths) == 1 else None

    @property
    def digest(self) -> str:
        """Of the numbers of all batches that were drawn: equal where they are, bit for bit."""
        found = sha256()
        for leaf in jax.tree.leaves(self.drawn):
            is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            value = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
            found.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
        return found.hexdigest()

    def used(self, steps: int) -> int:
        """Different batches in so many steps."""
        return min(steps, len(self.drawn))

    def passed_over(self) -> Iterator[Skipped]:
        yield from passed_over(self.other_forms)
        if self.stopped is not None:
            yield Skipped("further batches in the training", self.stopped.rstrip("."))

    def at(
        self, step: int, weights: list[Any], standardized: OddArray | None = None, *, first: bool = False
    ) -> Inputs:
        """`first`: of the first batch, with the random numbers of that step."""
        batch = self.drawn[0 if first else step % len(self.drawn)]
        others = self._tracer.inputs(batch, step, self._key).others
        if standardized is not None:
            others[standardized.place] = standardized.standardized(others[standardized.place])
        return Inputs(weights, others)

    def _draw(self, rest: Iterator[Any]) -> None:
        form, size = form_of(self.drawn[0]), _bytes(self.drawn)
        try:
            with user_code("drawing batches"):
                while len(self.drawn) + self.other_forms < MOST_BATCHES and size < MOST_BYTES:
                    batch = next(rest, self)
                    if batch is self:
                        break
                    if form_of(batch) != form:
                        self.other_forms += 1
                        continue
                    self.drawn.append(batch)
                    size += _bytes(batch)
        except GradscopeError as error:
            self.stopped = error.what


def _bytes(batch: Any) -> int:
    return sum(int(getattr(leaf, "nbytes", 0)) for leaf in jax.tree.leaves(batch))
