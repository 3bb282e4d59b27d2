"""Attention, recognized by its operations: scores that are products of two values of the model, normalized by
a softmax, which then weigh a third one.

Loops and branches are not looked into.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.nested.contract import Entry
from gradscope.trace.program import Program
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.walk import Domain, Path, Visit, walk

_KEEPS = frozenset({"add", "sub", "select_n", "max", "min", "clamp"})
"""A mask, a bias, or the largest score, which leave the scale as it is."""

_NUMBERS: dict[str, Callable[[float, float], float]] = {
    "sqrt": lambda a, _: math.sqrt(a),
    "rsqrt": lambda a, _: 1 / math.sqrt(a),
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": math.pow,
}


@dataclass(frozen=True, slots=True)
class Scores:
    number: int
    """The same for the same scores."""
    width: int
    """Products that are summed into each."""
    factor: float | None
    """Numbers of the program that they are multiplied by; `None` where something else is, too: data, a
    parameter, a norm."""
    eqn: JaxprEqn = field(compare=False)


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of one value."""

    weight: bool = False
    data: bool = False
    number: float | None = None
    """Of a scalar that the program computes of numbers alone."""
    factor: float | None = 1.0
    """Since the last product with a weight."""
    scores: Scores | None = None
    powers: Scores | None = None
    """Exponentials of these scores."""
    sums: Scores | None = None
    """Sums of such exponentials."""
    weights: Scores | None = None
    """The one over the other."""

    @property
    def learned(self) -> bool:
        return self.weight and self.data


@dataclass(frozen=True)
class Attention:
    """Where normalized scores weigh a value."""

    path: Path
    operand: int
    """Of the weights."""
    scores: Scores
    calls: tuple[JaxprEqn, ...]
    eqn: JaxprEqn


class _Attentions(Domain[Part, Path]):
    def __init__(self) -> None:
        self._around: list[JaxprEqn] = []
        self.found: list[Attention] = []

    def literal(self, atom: Any, place: Path) -> Part:
        del place
        scalar = getattr(atom.aval, "shape", None) == ()
        return Part(number=float(atom.val) if scalar and atom.aval.dtype.kind in "iuf" else None)

    def constant(self, value: Any, place: Path) -> Part:
        del value, place
        return Part(data=True)

    def below(self, visit: Visit[Part, Path], entry: Entry) -> Path:
        return (*visit.place, visit.index, entry.number)

    def enters(self, visit: Visit[Part, Path]) -> bool:
        return visit.inside.calls

    def join(self, values: list[Part]) -> Part:
        return Part(any(v.weight for v in values), any(v.data for v in values), factor=None)

    def before(self, eqn: JaxprEqn, values: list[Part], place: Path, index: int) -> None:
        del values, place, index
        self._around.insert(0, eqn)

    def after(self, eqn: JaxprEqn, outs: list[Part], place: Path, index: int) -> list[Part]:
        del eqn, place, index
        self._around.pop(0)
        return outs

    def plain(self, eqn: JaxprEqn, values: list[Part], place: Path, index: int) -> list[Part]:
        found = self.join(values)
        if len(eqn.outvars) != 1 or not values:
            return [found] * len(eqn.outvars)
        name = eqn.primitive.name
        if name == "dot_general":
            return [self._product(eqn, values, found, (*place, index))]
        return [_of_equation(name, values, found, eqn)]

    def _product(self, eqn: JaxprEqn, ins: Sequence[Part], found: Part, path: Path) -> Part:
        for place, part in enumerate(ins):
            if part.weights is not None and ins[1 - place].learned:
                self.found.append(Attention(path, place, part.weights, tuple(self._around[1:]), eqn))
        if not all(part.learned for part in ins):
            return replace(found, factor=1.0)
        a, b = ins[0].factor, ins[1].factor
        width = jaxprs.fan_in(eqn) or 0
        factor = None if a is None or b is None else a * b
        return replace(found, scores=Scores(id(eqn), width, factor, eqn), factor=factor)


def _of_equation(name: str, ins: Sequence[Part], found: Part, eqn: JaxprEqn) -> Part:
    first = ins[0]
    if name in VIEWS or name in ("stop_gradient", "neg"):
        return first
    if name == "exp":
        return replace(found, powers=first.scores)
    if name == "reduce_sum":
        return replace(found, sums=first.powers, factor=None)
    if name == "div" and first.powers is not None and first.powers == ins[1].sums:
        return replace(found, weights=first.powers)
    number = _number(name, ins, eqn)
    if number is not None:
        return Part(number=number)
    if name in ("mul", "div"):
        return _scaled(name, ins, found)
    if name in _KEEPS:
        scored = next((part.scores for part in ins if part.scores is not None), None)
        learned = [part for part in ins if part.learned]
        return replace(found, scores=scored, factor=learned[0].factor if len(learned) == 1 else None)
    return found


def _scaled(name: str, ins: Sequence[Part], found: Part) -> Part:
    for part, other in ((ins[0], ins[1]), (ins[1], ins[0])) if name == "mul" else ((ins[0], ins[1]),):
        if other.number is None or not part.data:
            continue
        by = other.number if name == "mul" else (1 / other.number if other.number else math.inf)
        kept = part.scores
        if kept is not None:
            kept = replace(kept, factor=None if kept.factor is None else kept.factor * by)
        return replace(part, factor=None if part.factor is None else part.factor * by, scores=kept)
    scored = next((part.scores for part in ins if part.scores is not None), None)
    return replace(found, scores=None if scored is None else replace(scored, factor=None))


def _number(name: str, ins: Sequence[Part], eqn: JaxprEqn) -> float | None:
    numbers = [part.number for part in ins]
    if name not in _NUMBERS or None in numbers or shape_of(eqn.outvars[0]):
        return None
    try:
        return _NUMBERS[name](float(numbers[0] or 0.0), float(numbers[-1] or 0.0))
    except (ArithmeticError, ValueError):
        return None


def attentions(program: Program) -> tuple[Attention, ...]:
    """In the order of the program."""
    domain, weights = _Attentions(), len(program.leaves)
    count = len(program.body.jaxpr.invars)
    walk(domain, program.body, [Part(weight=i < weights, data=i >= weights) for i in range(count)], ())
    return tuple(domain.found)
