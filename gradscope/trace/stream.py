"""The batches of a long training, pass after pass, of which no more is held than the one that is used."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from gradscope.load.problem import Problem
from gradscope.records import Skipped
from gradscope.trace.leaves import is_array
from gradscope.trace.program import Tracer

MOST_OTHER_FORMS = 1000
"""Consecutive batches of another form than the first, after which the data are taken to have ended."""


class BatchStream:
    """What each step is given besides the weights; after the last batch the first follows."""

    def __init__(
        self, problem: Problem, tracer: Tracer, form: Any, opening: Iterable[Any], *, repeat: bool
    ) -> None:
        """`form` is that of the batches that the program fits, and `opening` the first pass. An iterator,
        which can be walked once, is gone through again only with `repeat`, and then all of its batches are
        held."""
        self._problem, self._tracer, self._form, self._opening = problem, tracer, form, opening
        self._once = not repeat and problem.batch_source.forget()
        # A key that nobody reads is not worth a dispatch at each step.
        self._key = None if problem.takes_key else problem.key()
        self.other_forms = 0
        """Batches that were passed over, as the program of the first one does not fit them."""
        self.given_up = False
        """Whether too many of them came one after the other."""
        self.batches_per_pass: int | None = None
        """Once a pass has ended."""

    def __iter__(self) -> Iterator[tuple[Any, list[Any]]]:
        """The batch, and the arguments. It ends with a pass that has no batch of the form."""
        step = waited = 0
        for number in itertools.count():
            before = step
            for batch in self._opening if number == 0 else self._problem.batches():
                if form_of(batch) != self._form:
                    self.other_forms, waited = self.other_forms + 1, waited + 1
                    self.given_up = waited == MOST_OTHER_FORMS
                    if self.given_up:
                        return
                    continue
                waited = 0
                yield batch, self._tracer.inputs(batch, step, self._key).others
                step += 1
            if step == before:
                return
            self.batches_per_pass = self.batches_per_pass or step
            if self._once:
                return

    def passed_over(self) -> Iterator[Skipped]:
        return passed_over(self.other_forms)


def passed_over(batches: int) -> Iterator[Skipped]:
    """What a report says of batches of another form."""
    if batches:
        reason = "they differ from the first one in shape or in a Python value, and one program is compiled"
        yield Skipped(f"{batches} batches in the training", reason)


def form_of(batch: Any) -> Any:
    """What a batch must share with the first: structure, shapes of arrays, and all that is no array."""
    leaves, structure = jax.tree_util.tree_flatten(batch)
    forms = [(np.shape(leaf), jax.numpy.result_type(leaf)) if is_array(leaf) else leaf for leaf in leaves]
    return structure, forms
