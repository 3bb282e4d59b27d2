"""Where arrays of the batch meet the parameters, or a value that the model has made of both.

The first is how the data get into the model, the second is where targets are compared with its output, or
where more of the data comes in. Loops and branches are not looked into: what goes into one meets it there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.given import Given
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Entry
from gradscope.trace.walk import Domain, Path, Visit, walk

_NOISE = "erf_inv"
"""What makes normal numbers of uniform ones."""
_CHOICES = frozenset({"top_k", "approx_top_k", "sort", "argmax", "argmin"})

Starts = frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Fed:
    """What is known of one value."""

    given: Given | None = field(default=None, compare=False)
    """How to compute it, where no parameter goes into it."""
    learned: bool = False
    """Made of parameters and of data. Neither: a function of parameters alone."""
    noise: bool = False
    """Normal noise goes into it: a latent code, a sample."""
    chosen: bool = False
    """It depends on which of its values were the largest: routing."""
    starts: Starts = frozenset()
    """Where the model has cut off the first elements along an axis: its length, and their number."""


@dataclass(frozen=True)
class DataMeeting:
    """An operand of an equation that is made of the batch, where others are made of parameters."""

    path: Path
    operand: int
    given: Given
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    outputs: tuple[int, ...]
    """The operands that the model has made; empty where only parameters are met."""
    output: Fed
    """What is known of these together."""


def data_meetings(body: Body, weights: int) -> list[DataMeeting]:
    """In the order of the program, whose first inputs are the parameters and whose last one is the key.

    The constants of the program are its inputs behind the key.
    """
    count = len(body.jaxpr.invars)
    positions = {id(const): count + i for i, const in enumerate(body.consts)}
    domain = _Meetings(positions)
    inputs = [
        Fed() if i < weights else Fed(given=Given(position=i, data=i < count - 1)) for i in range(count)
    ]
    walk(domain, body, inputs, ())
    return domain.found


class _Meetings(Domain[Fed, Path]):
    def __init__(self, positions: dict[int, int]) -> None:
        self._positions = positions
        self.found: list[DataMeeting] = []

    def literal(self, atom: Any, place: Path) -> Fed:
        del place
        return Fed(given=Given(constant=np.asarray(atom.val, atom.aval.dtype)))

    def constant(self, value: Any, place: Path) -> Fed:
        del place
        data = math.prod(getattr(value, "shape", ())) > 1
        position = self._positions.get(id(value))
        if position is None:
            return Fed(given=Given(constant=value, data=data))
        return Fed(given=Given(position=position, data=data))

    def below(self, visit: Visit[Fed, Path], entry: Entry) -> Path:
        return (*visit.place, visit.index, entry.number)

    def enters(self, visit: Visit[Fed, Path]) -> bool:
        return visit.inside.calls

    def join(self, values: Sequence[Fed]) -> Fed:
        return _gathered(values)

    def plain(self, eqn: JaxprEqn, values: list[Fed], place: Path, index: int) -> list[Fed]:
        found = _gathered(values)
        noise = found.noise or eqn.primitive.name == _NOISE
        operands = [value.given for value in values if value.given is not None]
        if len(operands) == len(values):
            if eqn.effects:
                return [replace(found, noise=noise)] * len(eqn.outvars)
            made = (Given(eqn=eqn, operands=operands, position=i) for i in range(len(eqn.outvars)))
            return [replace(found, noise=noise, given=each) for each in made]
        found = replace(found, learned=found.learned or any(given.data for given in operands), noise=noise)
        self._meet(eqn, values, (*place, index))
        if found.learned:
            found = replace(found, chosen=found.chosen or _chooses(eqn), starts=found.starts | _starts(eqn))
        return [found] * len(eqn.outvars)

    def _meet(self, eqn: JaxprEqn, values: list[Fed], path: Path) -> None:
        outputs = tuple(i for i, value in enumerate(values) if value.learned)
        for i, value in enumerate(values):
            if value.given is not None and value.given.data:
                output = _gathered([values[each] for each in outputs])
                calls = self.around[1:]
                self.found.append(DataMeeting(path, i, value.given, eqn, calls, outputs, output))


def _gathered(values: Sequence[Fed]) -> Fed:
    return Fed(
        learned=any(value.learned for value in values),
        noise=any(value.noise for value in values),
        chosen=any(value.chosen for value in values),
        starts=frozenset().union(*(value.starts for value in values)),
    )


def _chooses(eqn: JaxprEqn) -> bool:
    return any(each.primitive.name in _CHOICES for each in jaxprs.all_equations(eqn))


def _starts(eqn: JaxprEqn) -> Starts:
    if eqn.primitive.name != "slice":
        return frozenset()
    cut = zip(shape_of(eqn.invars[0]), jaxprs.slices(eqn), strict=True)
    return frozenset((size, first) for size, (first, last, _) in cut if first > 0 and last == size)
