"""Attributes a non-finite result to an operand or to the operation itself, by running it again.

The operation runs again with the non-finite elements of its operands replaced by finite numbers. If the
result is then finite, the operands were the cause, and replacing them one at a time shows which. So a NaN in
the branch that a `where` does not take, or a mask of -inf under a softmax, is never followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.nonfinite.nonfinite_origin import Cell, NonFiniteOrigin
from gradscope.nonfinite.values import FILLS, NonFiniteKind, filled, is_inexact, mask

Run = Callable[[list[Any]], list[Any]]
Index = tuple[int, ...]


@dataclass(frozen=True)
class SuspectOperand:
    """The non-finite elements of one kind in one operand."""

    operand: int
    kind: NonFiniteKind
    origin: NonFiniteOrigin


@dataclass(frozen=True)
class Attribution:
    """Why a result has non-finite elements of a kind."""

    index: Index
    """The element that was judged."""
    suspect: SuspectOperand | None
    """The operand that is the cause; `None` where the operation itself is."""


class CausalityTest:
    """An operation whose result is not finite, and its runs with cleaned operands."""

    def __init__(self, run: Run, cells: Sequence[Cell], outs: Sequence[Cell], *, moves: bool = False) -> None:
        """`moves`: the operation only rearranges its one operand, so that no run is needed."""
        self._run = run
        self._moves = moves
        self._cells = cells
        self._outs = outs
        self._suspects = [
            SuspectOperand(i, kind, cell.blame[kind])
            for i, cell in enumerate(cells)
            for kind in cell.value_range.kinds
        ]
        self._clean: list[list[Any]] | None = None

    def attribution(self, out: int, kind: NonFiniteKind, like: int | None = None) -> Attribution:
        """For result number `out`; `like` is the number of the operand that it updates, in a loop.

        Where an operand is the cause for some elements and the operation for others, the operand is named.
        """
        was = mask(self._outs[out].value, (kind,))
        if not self._suspects:
            return Attribution(_first(was), None)
        if self._moves:
            return Attribution(_first(was), next(s for s in self._suspects if s.kind is kind))
        remains = was
        for results in self._cleaned():
            remains = remains & _bad(results[out])
            if not remains.any():
                break
        inherited = was & ~remains
        if inherited.any():
            index = _first(inherited)
            suspect = self._cause(out, kind, index, like)
            if not remains.any() or not suspect.origin.intentional:
                return Attribution(index, suspect)
        return self._own(remains)

    def _own(self, remains: Any) -> Attribution:
        """For elements that stay non-finite with clean operands; a non-finite operand there came first."""
        touched = np.zeros(remains.shape, bool)
        at_fault = []
        for suspect in self._suspects:
            value = self._cells[suspect.operand].value
            if np.shape(value) == remains.shape and not suspect.origin.intentional:
                touched |= mask(value, (suspect.kind,))
                at_fault.append(suspect)
        if (remains & ~touched).any():
            return Attribution(_first(remains & ~touched), None)
        index = _first(remains)
        there = [s for s in at_fault if mask(np.asarray(self._cells[s.operand].value)[index], (s.kind,))]
        return Attribution(index, min(there, key=lambda s: s.origin.order))

    def _cleaned(self) -> list[list[Any]]:
        """The results with all operands cleaned, one list for each way to fill them."""
        if self._clean is None:
            every = [(suspect.operand, suspect.kind) for suspect in self._suspects]
            self._clean = []
            for attempt in range(FILLS):
                results = self._without(every, attempt)
                self._clean.append(results)
                if not any(_bad(result).any() for result in results):
                    break
        return self._clean

    def _without(self, what: Sequence[tuple[int, NonFiniteKind]], attempt: int) -> list[Any]:
        values = [cell.value for cell in self._cells]
        for operand in {operand for operand, _ in what}:
            kinds = [kind for each, kind in what if each == operand]
            values[operand] = filled(values[operand], kinds, attempt)
        return self._run(values)

    def _cause(self, out: int, kind: NonFiniteKind, index: Index, like: int | None) -> SuspectOperand:
        """The operand whose cleaning removes the kind from the element; the same kind goes first."""
        ranked = sorted(
            self._suspects,
            key=lambda s: (
                (s.kind is NonFiniteKind.NAN) != (kind is NonFiniteKind.NAN),
                s.operand != like,
                s.origin.order,
            ),
        )
        if len({(s.origin, s.kind) for s in ranked}) == 1:
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
    return mask(value, NonFiniteKind)


def _first(found: Any) -> Index:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(found)), found.shape))
