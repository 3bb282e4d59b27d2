"""How what is known passes through the primitives that carry a jaxpr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.intervals.known import INF, Known, bits, either, latest, replace
from gradscope.trace.sites import Plan
from gradscope.trace.vocabulary import CUSTOM

if TYPE_CHECKING:
    from gradscope.trace.domains.intervals.survey import Survey


class Nested(Protocol):
    def __call__(
        self, survey: Survey, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int, /
    ) -> list[Known]: ...


def _below(plan: Plan | None, index: int, number: int = 0) -> Plan | None:
    """Nothing is noted where the flow pass does not enter."""
    return plan.inner.get((index, number)) if plan is not None else None


def call(survey: Survey, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int) -> list[Known]:
    outs = survey.walk(jaxprs.called_body(eqn), ins, _below(plan, index))
    if jaxprs.function_name(eqn) in ("_var", "var"):
        return [replace(out, tags=out.tags | {"std"}) for out in outs]
    return outs


def custom(survey: Survey, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int) -> list[Known]:
    """The derivative is the author's own: only the range of the result is of interest."""
    outs = survey.walk(jaxprs.called_body(eqn), ins, None)
    grad = bits(k.grad for k in ins)
    return [replace(out, grad=grad) for out in outs]


def cond(survey: Survey, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int) -> list[Known]:
    chosen, *operands = ins
    ways = [
        survey.walk(body, operands, _below(plan, index, number))
        for number, body in enumerate(jaxprs.branches(eqn))
    ]
    outs = [either([way[i] for way in ways]) for i in range(len(eqn.outvars))]
    return [replace(out, reads=out.reads | chosen.reads) for out in outs]


def scan(survey: Survey, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int) -> list[Known]:
    p = jaxprs.scan_params(eqn)
    first, last = p.consts, p.consts + p.carry
    rows = [_row(k) for k in ins[last:]]
    carry = [_row(k) for k in ins[first:last]]
    inner = _below(plan, index)
    while True:
        outs = survey.walk(p.body, [*ins[:first], *carry, *rows], inner)
        merged = [_widened(before, after) for before, after in zip(carry, outs[: p.carry], strict=True)]
        if [_settled(k) for k in merged] == [_settled(k) for k in carry]:
            return [_row(k) for k in [*merged, *outs[p.carry :]]]
        carry = merged


def _row(known: Known) -> Known:
    """Seen from the other side of a loop: the same range, another value."""
    return replace(
        known, name=0, origin=0, mirror=0, exps=frozenset(), at_least=frozenset(), top_of=0, peak=False
    )


def _widened(before: Known, after: Known) -> Known:
    """An end that moves within a loop moves on: to 0 where it is above, else to infinity."""
    both = _row(either([before, after]))
    low = both.low if both.low >= before.low else 0.0 if both.low >= 0 else -INF
    high = both.high if both.high <= before.high else 0.0 if both.high <= 0 else INF
    return replace(both, low=low, high=high, nonzero=both.nonzero and not low <= 0 <= high)


def _settled(known: Known) -> tuple[object, ...]:
    return known.low, known.high, known.nonzero, known.reads, known.grad, known.tags, known.rounding


def shard_map(survey: Survey, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int) -> list[Known]:
    return survey.walk(jaxprs.shard_map_params(eqn).body, [_row(k) for k in ins], _below(plan, index))


def opaque(survey: Survey, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int) -> list[Known]:
    del survey, plan, index
    out = Known(reads=bits(k.reads for k in ins), grad=bits(k.grad for k in ins), site=latest(ins))
    return [out] * len(eqn.outvars)


NESTED: dict[str, Nested] = {
    "scan": scan,
    "cond": cond,
    "shard_map": shard_map,
    "while": opaque,
    **dict.fromkeys(("jit", "pjit", "closed_call", "core_call", "named_call"), call),
    **dict.fromkeys(("checkpoint", "remat", "remat2"), call),
    **dict.fromkeys(CUSTOM, custom),
}
