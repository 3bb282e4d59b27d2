"""The batches of a long training, pass after pass, of which no more is held than the one that is used."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from gradscope.load.problem import Problem
from gradscope.records import Skipped
from gradscope.trace.program import Tracer
from gradscope.training.batches import form_of

MOST_OTHER_FORMS = 1000
"""Consecutive batches of another form than the first, after which the data are taken to have ended."""


class BatchStream:
    """What each step is given besides the weights; after the last batch the first follows."""

    def __init__(
        self, problem: Problem, tracer: Tracer, drawn: Sequence[Any], rest: Iterator[Any], *, repeat: bool
    ) -> None:
        """`rest` goes on after those that were `drawn`. An iterator, which can be walked once, is gone
        through again only with `repeat`, and then all of its batches are held."""
        self._problem, self._tracer = problem, tracer
        self._form = form_of(drawn[0])
        self._once = not repeat and problem.batch_source.forget()
        self._opening = itertools.chain(drawn, rest)
        self._key = None if problem.takes_key else problem.key()
        self.other_forms = 0
        """Batches that were passed over, as the program of the first one does not fit them."""
        self.batches_per_pass: int | None = None
        """Once a pass has ended."""

    def __iter__(self) -> Iterator[tuple[Any, list[Any]]]:
        """The batch, and the arguments."""
        step = waited = 0
        for number in itertools.count():
            before = step
            for batch in self._pass(number):
                if form_of(batch) != self._form:
                    self.other_forms, waited = self.other_forms + 1, waited + 1
                    if waited == MOST_OTHER_FORMS:
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
        if self.other_forms:
            reason = (
                "they differ from the first one in shape or in a Python value, and one program is compiled"
            )
            yield Skipped(f"{self.other_forms} batches in the training", reason)

    def _pass(self, number: int) -> Iterator[Any]:
        return self._opening if number == 0 else self._problem.batches()
