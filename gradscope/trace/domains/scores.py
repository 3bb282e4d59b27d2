"""What is known of a value on the way from queries and keys to the weights of an attention."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.vocabulary import VIEWS

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

Labels = tuple[int | None, ...]
"""By axis of a value: the axis of the scores that it was, `None` where it is another one."""


@dataclass(frozen=True, slots=True)
class Scores:
    number: int
    """The same for the same scores."""
    width: int
    """Products that are summed into each."""
    factor: float | None
    """Numbers of the program that they are multiplied by; `None` where something else is, too: data, a
    parameter, a norm."""
    sites: tuple[int | None, int | None]
    """The last layers on the way to the two values that are multiplied."""
    masked: bool
    """Something was added to them, or chosen in their place."""
    shifted: bool
    """Something of the model was subtracted: their largest."""
    sides: tuple[frozenset[int], frozenset[int]]
    """Axes that come from the one and from the other value alone."""
    eqn: JaxprEqn = field(compare=False)
    masks: tuple[tuple[JaxprEqn, int], ...] = field(default=(), compare=False)
    """The equations that mask them by what no parameter goes into, and the operand that is the mask."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of one value."""

    weight: bool = False
    data: bool = False
    number: float | None = None
    """Of a scalar that the program computes of numbers alone."""
    factor: float | None = 1.0
    """Since the last product with a weight."""
    site: int | None = None
    """The last layer on the way to it."""
    labels: Labels = ()
    scores: Scores | None = None
    powers: Scores | None = None
    """Exponentials of these scores."""
    sums: Scores | None = None
    """Sums of such exponentials."""
    weights: Scores | None = None
    """The one over the other."""
    dropped: bool = False
    """Some of these weights were set to 0."""
    over: frozenset[int | None] = frozenset()
    """Labels of the axes that the exponentials were summed along."""

    @property
    def learned(self) -> bool:
        return self.weight and self.data

    @property
    def carried(self) -> Part:
        """What holds of it on the other side of a loop, where its axes are others."""
        return Part(self.weight, self.data, self.number, self.factor, self.site)


def joined(parts: Sequence[Part]) -> Part:
    """Of a value that is made of all of these in any way."""
    site = max((part.site for part in parts if part.site is not None), default=None)
    return Part(any(p.weight for p in parts), any(p.data for p in parts), factor=None, site=site)


def product(eqn: JaxprEqn, ins: Sequence[Part], found: Part, number: int) -> Part:
    """Of a `dot_general`."""
    if not all(part.learned for part in ins):
        return replace(found, factor=1.0)
    left, right = (frozenset(to for to in each if to is not None) for each in jaxprs.moves(eqn) or ((), ()))
    a, b = ins[0].factor, ins[1].factor
    factor = None if a is None or b is None else a * b
    scores = Scores(
        number=number,
        width=jaxprs.fan_in(eqn) or 0,
        factor=factor,
        sites=(ins[0].site, ins[1].site),
        masked=False,
        shifted=False,
        sides=(left - right, right - left),
        eqn=eqn,
    )
    return replace(found, scores=scores, factor=factor, labels=tuple(range(len(shape_of(eqn.outvars[0])))))


def of_equation(eqn: JaxprEqn, ins: Sequence[Part], found: Part) -> Part:
    """Of any other equation with one result."""
    name, first = eqn.primitive.name, ins[0]
    if name in VIEWS or name in ("stop_gradient", "neg"):
        return replace(first, labels=_viewed(eqn, first.labels))
    if name == "exp":
        return replace(found, powers=first.scores, labels=first.labels)
    if name == "reduce_sum":
        kept = _viewed(eqn, first.labels)
        over = frozenset(first.labels) - frozenset(kept)
        return replace(found, sums=first.powers, factor=None, labels=kept, over=over)
    if name == "div" and first.powers is not None and first.powers == ins[1].sums:
        return replace(found, weights=first.powers, labels=first.labels, over=ins[1].over)
    number = _number(name, ins, eqn)
    if number is not None:
        return Part(number=number)
    if name in ("mul", "div"):
        return _scaled(name, ins, found)
    if name in _KEEPS:
        return _kept(eqn, ins, found)
    return found


def _viewed(eqn: JaxprEqn, labels: Labels) -> Labels:
    """The labels after an equation that carries axes on; none where they cannot be followed."""
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    if before == after and eqn.primitive.name not in ("transpose", "rev"):
        return labels
    moves = jaxprs.moves(eqn)
    if moves is None or len(labels) != len(before):
        return ()
    found: list[int | None] = [None] * len(after)
    for axis, to in enumerate(moves[0]):
        if to is not None and before[axis] == after[to]:
            found[to] = labels[axis]
    return tuple(found)


def _kept(eqn: JaxprEqn, ins: Sequence[Part], found: Part) -> Part:
    name = eqn.primitive.name
    dropped = [part for part in ins if part.weights is not None]
    if name == "select_n" and dropped and not any(part.weight for part in ins if part is not dropped[0]):
        return replace(dropped[0], dropped=True)
    mine = next((part for part in ins if part.scores is not None), None)
    learned = [part for part in ins if part.learned]
    found = replace(found, factor=learned[0].factor if len(learned) == 1 else None)
    if mine is None or mine.scores is None:
        return found
    other = [part for part in ins if part is not mine]
    added = name == "add" and any(part.number is None for part in other)
    mask = 0 if name == "select_n" else 1 - ins.index(mine)
    plain = (added or name == "select_n") and ins[mask] is not mine and not ins[mask].weight
    scores = replace(
        mine.scores,
        masked=mine.scores.masked or added or name == "select_n",
        masks=(*mine.scores.masks, *([(eqn, mask)] if plain else [])),
        shifted=mine.scores.shifted or (name == "sub" and any(part.learned for part in other)),
    )
    return replace(found, scores=scores, labels=mine.labels)


def _scaled(name: str, ins: Sequence[Part], found: Part) -> Part:
    for part, other in ((ins[0], ins[1]), (ins[1], ins[0])) if name == "mul" else ((ins[0], ins[1]),):
        if other.number is None or not part.data:
            continue
        by = other.number if name == "mul" else (1 / other.number if other.number else math.inf)
        kept = part.scores
        if kept is not None:
            kept = replace(kept, factor=None if kept.factor is None else kept.factor * by)
        factor = None if part.factor is None else part.factor * by
        dropped = part.dropped or part.weights is not None
        return replace(part, factor=factor, scores=kept, powers=None, sums=None, dropped=dropped)
    for part, other in ((ins[0], ins[1]), (ins[1], ins[0])):
        if part.scores is not None:
            return replace(found, scores=replace(part.scores, factor=None), labels=part.labels)
        if part.weights is not None and not other.weight:
            return replace(part, factor=None, dropped=True)
    return found


def _number(name: str, ins: Sequence[Part], eqn: JaxprEqn) -> float | None:
    numbers = [part.number for part in ins]
    if name not in _NUMBERS or None in numbers or shape_of(eqn.outvars[0]):
        return None
    try:
        return _NUMBERS[name](float(numbers[0] or 0.0), float(numbers[-1] or 0.0))
    except (ArithmeticError, ValueError):
        return None


def scalar(atom: Any) -> float | None:
    """The number that a literal is."""
    is_scalar = getattr(atom.aval, "shape", None) == ()
    return float(atom.val) if is_scalar and atom.aval.dtype.kind in "iuf" else None
