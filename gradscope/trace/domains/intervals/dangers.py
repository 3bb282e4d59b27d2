"""Operations that stop being finite at a point, and whether their operands can get there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.intervals.known import Known
from gradscope.trace.jaxprs.operands import exponent
from gradscope.trace.probe import float_info
from gradscope.trace.sites import Measure
from gradscope.trace.vocabulary import is_real

HALF = 0.5
"""An exponent that is bounded by half of the largest one is safe: its square still fits."""


class Danger(NamedTuple):
    kind: str
    measure: Measure
    operands: tuple[int, ...]
    """Positions of the operands that are measured."""
    backward: bool = False
    """Only the derivative is not finite there."""


Rule = Callable[[JaxprEqn, Sequence[Known]], Danger | None]


def danger_of(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    """The danger that an equation's operands can reach, as far as their intervals tell."""
    rule = _RULES.get(eqn.primitive.name)
    return rule(eqn, ins) if rule and is_real(eqn.outvars[0].aval) else None


def largest_exponent(eqn: JaxprEqn) -> float:
    base = math.log(2) if eqn.primitive.name == "exp2" else 1.0
    aval: Any = eqn.outvars[0].aval
    return math.log(float(float_info(aval.dtype).max)) / base


def _log(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    kind = _log_kind(ins[0])
    return Danger(kind, Measure.ZERO, (0,)) if ins[0].may_be_zero else None


def _log1p(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    return Danger(_log_kind(ins[0]), Measure.MINUS_ONE, (0,)) if ins[0].low <= -1 else None


def _log_kind(operand: Known) -> str:
    named = [tag for tag in ("softmax", "sigmoid", "tanh") if tag in operand.tags]
    return f"log-of-{named[0]}" if named else "log-near-zero"


def _sqrt(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    return Danger("root-near-zero", Measure.ZERO, (0,), backward=True) if ins[0].may_be_zero else None


def _rsqrt(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    return Danger("division-by-norm", Measure.ZERO, (0,)) if ins[0].may_be_zero else None


def _pow(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    base, degree = ins
    if not base.may_be_zero or base.constant or degree.low >= 1 or degree.low == degree.high == 0:
        return None
    return Danger("power-near-zero", Measure.ZERO, (0,), backward=degree.low > 0)


def _integer_pow(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    safe = exponent(eqn) > 0 or not ins[0].may_be_zero
    return None if safe else Danger("division-by-zero", Measure.ZERO, (0,))


def _div(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    if not ins[1].may_be_zero:
        return None
    named = [tag for tag in ("std", "root", "sum") if tag in ins[1].tags]
    kind = {"std": "division-by-std", "root": "division-by-norm", "sum": "division-by-sum"}
    return Danger(kind[named[0]] if named else "division-by-zero", Measure.ZERO, (1,))


def _exp(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    reached = ins[0].high > HALF * largest_exponent(eqn)
    return Danger("large-exponent", Measure.OVERFLOW, (0,)) if reached else None


def _atan2(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
    both = ins[0].may_be_zero and ins[1].may_be_zero
    return Danger("arctan2-near-origin", Measure.ORIGIN, (0, 1), backward=True) if both else None


def _at_one(kind: str, *, backward: bool) -> Rule:
    def rule(eqn: JaxprEqn, ins: Sequence[Known]) -> Danger | None:
        reached = ins[0].low <= -1 or ins[0].high >= 1
        return Danger(kind, Measure.ONE, (0,), backward) if reached else None

    return rule


_RULES: dict[str, Rule] = {
    "log": _log,
    "log1p": _log1p,
    "sqrt": _sqrt,
    "cbrt": _sqrt,
    "rsqrt": _rsqrt,
    "pow": _pow,
    "integer_pow": _integer_pow,
    "div": _div,
    "exp": _exp,
    "exp2": _exp,
    "expm1": _exp,
    "atan2": _atan2,
    "acos": _at_one("arccos-near-one", backward=True),
    "asin": _at_one("arcsin-near-one", backward=True),
    "atanh": _at_one("arctanh-near-one", backward=False),
    "erf_inv": _at_one("erfinv-near-one", backward=False),
}
