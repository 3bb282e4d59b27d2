"""Did the operands make a result bad, or the operation? Found by trying, with the operands at hand.

The operation is run again with what is bad in its operands replaced by finite numbers. If the result is
then finite, the operands were the cause, and which one is found by cleaning them one at a time. So a NaN
in the branch that a `where` does not take, or a mask of -inf under a softmax, is never followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.nonfinite.births import Birth, Cell
from gradscope.nonfinite.values import FILLS, Kind, filled, is_inexact, mask

Run = Callable[[list[Any]], list[Any]]
Index = tuple[int, ...]


@dataclass(frozen=True)
class Suspect:
    """What is bad of one kind in one operand."""

    operand: int
    kind: Kind
    birth: Birth


@dataclass(frozen=True)
class Verdict:
    """Why a result has bad elements of a kind."""

    index: Index
    """The element that was judged."""
    suspect: Suspect | None
    """The operand that made it bad; `None`: the operation did."""


class Trial:
    """One run of an operation whose result is not finite, and its repetitions with cleaned operands."""

    def __init__(self, run: Run, cells: Sequence[Cell], outs: Sequence[Cell], *, moves: bool = False) -> None:
        """`moves`: the operation only arranges its operand anew, so that nothing has to be tried."""
        self._run = run
        self._moves = moves
        self._cells = cells
        self._outs = outs
        self._suspects = [
            Suspect(i, kind, cell.blame[kind]) for i, cell in enumerate(cells) for kind in cell.survey.kinds
        ]
        self._clean: list[list[Any]] | None = None

    def verdict(self, out: int, kind: Kind, like: int | None = None) -> Verdict:
        """Of result number `out`; `like` is the operand that it continues, in a loop.

        Where some elements were made bad by an operand and others by the operation, the operand was first.
        """
        was = mask(self._outs[out].value, (kind,))
        if not self._suspects:
            return Verdict(_first(was), None)
        if self._moves:
            return Verdict(_first(was), next(s for s in self._suspects if s.kind is kind))
        remains = was
        for results in self._cleaned():
            remains = remains & _bad(results[out])
            if not remains.any():
                break
        inherited = was & ~remains
        if inherited.any():
            index = _first(inherited)
            suspect = self._guilty(out, kind, index, like)
            if not remains.any() or not suspect.birth.meant:
                return Verdict(index, suspect)
        return self._own(remains)

    def _own(self, remains: Any) -> Verdict:
        """The operation makes these bad whatever it gets; where it got something bad, that was first."""
        touched = np.zeros(remains.shape, bool)
        at_fault = []
        for suspect in self._suspects:
            value = self._cells[suspect.operand].value
            if np.shape(value) == remains.shape and not suspect.birth.meant:
                touched |= mask(value, (suspect.kind,))
                at_fault.append(suspect)
        if (remains & ~touched).any():
            return Verdict(_first(remains & ~touched), None)
        index = _first(remains)
        there = [s for s in at_fault if mask(np.asarray(self._cells[s.operand].value)[index], (s.kind,))]
        return Verdict(index, min(there, key=lambda s: s.birth.order))

    def _cleaned(self) -> list[list[Any]]:
        """The results with all that is bad filled in, one for each way to fill."""
        if self._clean is None:
            every = [(suspect.operand, suspect.kind) for suspect in self._suspects]
            self._clean = []
            for attempt in range(FILLS):
                results = self._without(every, attempt)
                self._clean.append(results)
                if not any(_bad(result).any() for result in results):
                    break
        return self._clean

    def _without(self, what: Sequence[tuple[int, Kind]], attempt: int) -> list[Any]:
        values = [cell.value for cell in self._cells]
        for operand in {operand for operand, _ in what}:
            kinds = [kind for each, kind in what if each == operand]
            values[operand] = filled(values[operand], kinds, attempt)
        return self._run(values)

    def _guilty(self, out: int, kind: Kind, index: Index, like: int | None) -> Suspect:
        """The operand without which the element is not of this kind; of the same kind before others."""
        ranked = sorted(
            self._suspects,
            key=lambda s: ((s.kind is Kind.NAN) != (kind is Kind.NAN), s.operand != like, s.birth.order),
        )
        if len({(s.birth, s.kind) for s in ranked}) == 1:
            return ranked[0]
        for suspect in ranked:
            for attempt in range(FILLS):
                result = self._without([(suspect.operand, suspect.kind)], attempt)[out]
                if not mask(np.asarray(result)[index], (kind,)).any():
                    return suspect
        return ranked[0]


def _bad(value: Any) -> Any:
    if not is_inexact(value):
        return np.zeros(np.shape(value), bool)
    return mask(value, Kind)


def _first(found: Any) -> Index:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(found)), found.shape))
