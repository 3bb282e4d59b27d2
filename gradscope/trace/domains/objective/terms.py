"""Log-probabilities of labels, and distances from targets, on their way to the loss, and what they are
multiplied by there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.forms import Made
from gradscope.trace.domains.objective.output import OTHER, Output, Term
from gradscope.trace.vocabulary import VIEWS


def terms_of(eqn: JaxprEqn, ins: Sequence[Output]) -> tuple[Term, ...]:
    """Those of the result; none where it is not linear in them, or by a factor that the data decide."""
    name = eqn.primitive.name
    if name in VIEWS or name == "reduce_sum":
        return ins[0].terms
    if name == "neg":
        return times(ins[0].terms, -1.0)
    if name == "select_n":
        return _case(ins[1:])
    if name in ("add", "add_any"):
        return _together(*ins)
    if name == "sub":
        return _together(ins[0], replace(ins[1], terms=times(ins[1].terms, -1.0)))
    if name == "gather" and ins[0].form is not None and ins[0].form.made is Made.CHOSEN:
        return ins[0].terms
    if name not in ("mul", "div"):
        return ()
    for a, b in (ins, ins[::-1]) if name == "mul" else (ins,):
        number = b.given.number if b.given is not None else None
        if number and a.terms:
            return times(a.terms, number if name == "mul" else 1 / number)
    return ()


def is_distance(eqn: JaxprEqn, ins: Sequence[Output]) -> bool:
    """The square or the absolute value of an output less targets."""
    name, form = eqn.primitive.name, ins[0].form if ins else None
    if form is None or form.made is not Made.DISTANCE:
        return False
    squared = name == "square" or (name == "integer_pow" and jaxprs.exponent(eqn) == 2)
    return squared or name == "abs" or (name == "mul" and eqn.invars[0] is eqn.invars[1])


def times(terms: Sequence[Term], factor: float) -> tuple[Term, ...]:
    return tuple(replace(term, scale=term.scale * factor) for term in terms)


def _case(cases: Sequence[Output]) -> tuple[Term, ...]:
    """Terms that are taken where something holds, and else a number."""
    found = [case for case in cases if case.terms]
    alone = len(found) == 1 and all(case in found or case.given for case in cases)
    return (*found[0].terms, Term(OTHER)) if alone else ()


def _together(a: Output, b: Output) -> tuple[Term, ...]:
    """Of a sum: what has no terms is another one beside those of the other, unless it is 0."""
    if not (a.terms or b.terms):
        return ()
    zero = [each.given is not None and each.given.number == 0 for each in (a, b)]
    beside = [() if is_zero else (Term(OTHER),) for is_zero in zero]
    return (*(a.terms or beside[0]), *(b.terms or beside[1]))
