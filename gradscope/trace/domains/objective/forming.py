"""How each operation changes what an output is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.forms import (
    RANGES,
    Form,
    Made,
    difference,
    quotient,
    ranged,
    scaled,
    summed,
)
from gradscope.trace.domains.objective.output import Output, chosen_by_labels, is_data
from gradscope.trace.vocabulary import VIEWS

_RANGED = {"logistic": Made.SIGMOID, "tanh": Made.TANH}
_REPLACED = Made.PEAK, Made.CHOSEN
_MOVED = frozenset({"reshape", "transpose", "squeeze", "broadcast_in_dim", "rev"})
EPSILON = 0.1
"""A bound below it keeps a probability from 0, and does not make it another one."""


def form_of(eqn: JaxprEqn, ins: Sequence[Output]) -> Form | None:
    """The form of the one result."""
    name = eqn.primitive.name
    if not ins:
        return None
    form = ins[0].form
    if name in _RANGED:
        return ranged(_RANGED[name], of=ins[0].name)
    if name in VIEWS or name == "stop_gradient":
        return _seen(eqn, form) if name in _MOVED else form
    if name == "reduce_max":
        return Form(Made.PEAK, of=ins[0].name)
    if name == "exp":
        return Form(Made.EXP, of=ins[0].name, within=form)
    if name == "reduce_sum":
        return summed(eqn, form)
    if name == "abs":
        return form if form is not None and form.made is Made.SUM else None
    if name == "log":
        return _log(form)
    if name == "select_n":
        return _case(ins[1:])
    if name == "gather":
        return _chosen(eqn, ins)
    if name == "clamp":
        return ins[1].form
    if name == "neg":
        return scaled(form, -1.0, 0.0)
    return _of_two(name, ins) if len(ins) == 2 else None


def _log(form: Form | None) -> Form | None:
    if form is None:
        return None
    if form.made is Made.SIGMOID and form.low >= 0:
        return Form(Made.LOG_SIGMOID)
    if form.made is Made.SOFTMAX:
        return Form(Made.LOG_SOFTMAX, axes=form.axes, size=form.size, again=form.again)
    return replace(form, made=Made.LOG_SUM) if form.made is Made.SUM else None


def _chosen(eqn: JaxprEqn, ins: Sequence[Output]) -> Form | None:
    """By labels; a second choice is one from an axis of length 1."""
    form = ins[0].form
    if form is not None and form.made is Made.CHOSEN:
        return form
    return Form(Made.CHOSEN, of=ins[0].name) if chosen_by_labels(eqn, ins, numbered=True) else None


def _case(cases: Sequence[Output]) -> Form | None:
    """A maximum that is replaced where it is not finite, and a choice that is where it is out of range."""
    forms = [case.form for case in cases if case.form is not None and case.form.made in _REPLACED]
    return forms[0] if forms and all(case.form in forms or case.given for case in cases) else None


def _of_two(name: str, ins: Sequence[Output]) -> Form | None:
    a, b = ins
    numbers = [each.given.number if each.given is not None else None for each in ins]
    if name in ("max", "min"):
        return _bounded(name, ins, numbers)
    if name == "div":
        made = quotient(a.form, b.form)
        return made or (scaled(a.form, 1 / numbers[1], 0.0) if numbers[1] else None)
    if name == "sub":
        if b.form is not None and b.form.made is Made.PEAK and b.form.of == a.name:
            return a.form or Form(Made.SHIFTED)
        if (made := difference(a.name, a.shifted, a.form, b.form)) is not None:
            return made
        if (a.leaves and is_data(b)) or (b.leaves and is_data(a)):
            return Form(Made.DISTANCE)
        if numbers[0] is not None:
            return scaled(b.form, -1.0, numbers[0])
        return scaled(a.form, 1.0, -numbers[1]) if numbers[1] is not None else None
    for one, other, number in ((a, b, numbers[1]), (b, a, numbers[0])):
        if (
            name == "add"
            and one.form is not None
            and one.form.made is Made.LOG_SUM
            and other.form is not None
        ):
            return replace(one.form, of=other.form.of) if other.form.made is Made.PEAK else None
        if number is not None and name in ("mul", "add"):
            return scaled(one.form, number, 0.0) if name == "mul" else scaled(one.form, 1.0, number)
    return None


def _bounded(name: str, ins: Sequence[Output], numbers: Sequence[float | None]) -> Form | None:
    """A ReLU, or a bound that changes nothing of what a value is."""
    for one, number in ((ins[0], numbers[1]), (ins[1], numbers[0])):
        if number is None:
            continue
        form = one.form
        if form is not None and form.made is Made.PEAK:
            return form
        if form is not None and form.made in RANGES and (number <= form.low or name == "min"):
            return form
        if form is not None and form.made in RANGES and number < EPSILON:
            return form
        return ranged(Made.RELU, of=one.name) if name == "max" and number == 0 and one.leaves else None
    return None


def _seen(eqn: JaxprEqn, form: Form | None) -> Form | None:
    """In another arrangement: the last axis stays the last one where it has the same length."""
    if form is None or form.made not in (Made.SOFTMAX, Made.LOG_SOFTMAX):
        return form
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    kept = eqn.primitive.name == "reshape" and form.axes == (len(before) - 1,) and before[-1:] == after[-1:]
    return replace(form, axes=(len(after) - 1,) if kept else ())
