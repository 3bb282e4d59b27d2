"""A domain of sets of bits: what is not given any has none, and two values together have those of both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

from gradscope.trace.nested.contract import Entry
from gradscope.trace.walk import Domain, Path, Visit


class Bits(Domain[int, Path]):
    """Its places are paths."""

    def literal(self, atom: Any, place: Path) -> int:
        del atom, place
        return 0

    def constant(self, value: Any, place: Path) -> int:
        del value, place
        return 0

    def below(self, visit: Visit[int, Path], entry: Entry) -> Path:
        return (*visit.place, visit.index, entry.number)

    def join(self, values: Sequence[int]) -> int:
        return reduce(or_, values, 0)
