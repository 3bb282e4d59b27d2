"""Follows the model's outputs to the loss: how each was made, what it meets, in what the loss is affine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.located import Located, Place
from gradscope.trace.domains.objective.affine import BILINEAR, bent
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.forming import form_of
from gradscope.trace.domains.objective.forms import (
    LOG_PROBABILITIES,
    NORMALIZED,
    PROBABILITIES,
    RANGES,
    Form,
    Made,
    is_likelihood,
    is_twice,
)
from gradscope.trace.domains.objective.given import Given
from gradscope.trace.domains.objective.output import (
    Observation,
    Output,
    Question,
    Term,
    chosen_by_labels,
    gathered,
    is_data,
)
from gradscope.trace.domains.objective.terms import is_distance, terms_of, times
from gradscope.trace.nested.contract import Entry
from gradscope.trace.vocabulary import VIEWS, is_integer
from gradscope.trace.walk import Visit

_LOG_SIGMOIDS = frozenset({"log_sigmoid", "softplus"})
_SAME = frozenset({"convert_element_type", "copy", "optimization_barrier", "name", "sharding_constraint"})
"""Views that leave every element at its place."""


class Outputs(Located[Output]):
    """The state of one walk."""

    def __init__(self, examples: int) -> None:
        self._examples = examples
        self._names = 0
        self.seen: dict[tuple[Any, ...], Observation] = {}

    def input(self, position: int, shape: tuple[int, ...], *, data: bool) -> Output:
        """An input of the program that is no parameter."""
        examples = shape[:1] == (self._examples,)
        return Output(Given(position=position, data=data, examples=examples))

    def literal(self, atom: Any, place: Place) -> Output:
        del place
        return Output(Given(constant=np.asarray(atom.val, atom.aval.dtype)))

    def constant(self, value: Any, place: Place) -> Output:
        del place
        shape = getattr(value, "shape", ())
        examples = tuple(shape[:1]) == (self._examples,)
        return Output(Given(constant=value, data=math.prod(shape) > 1, examples=examples))

    def at_site(self, value: Output, site: int) -> Output:
        return replace(value, site=site)

    def bound(self, value: Output) -> Output:
        if value.name:
            return value
        self._names += 1
        return replace(value, name=self._names)

    def join(self, values: list[Output]) -> Output:
        first, found = values[0], gathered(values)
        terms = first.terms if all(value.terms == first.terms for value in values) else ()
        return replace(found, terms=terms, weight=all(value.weight for value in values))

    def entering(self, visit: Visit[Output, Place], entry: Entry) -> list[Output]:
        ins = super().entering(visit, entry)
        changing = {*entry.carried, *entry.rows}
        if visit.inside.shards is not None:
            changing = {*range(len(ins))}
        return [_across(value) if i in changing else value for i, value in enumerate(ins)]

    def leaving(self, visit: Visit[Output, Place], carried: list[Output], outs: list[Output]) -> list[Output]:
        if visit.inside.loop is not None:
            return [_across(out) for out in [*carried, *outs[len(carried) :]]]
        if visit.inside.own_rule:
            outs = [replace(out, bent=out.bent | out.leaves) for out in outs]
        function = jaxprs.function_name(visit.eqn)
        if function == Made.LOG_SIGMOID.value:
            outs = [replace(out, form=Form(Made.LOG_SIGMOID)) for out in outs]
        if function in _LOG_SIGMOIDS and _is_probability(visit.values[0]):
            bit = self._see(Question.TWICE, visit.eqn, visit.values[0], visit.place, visit.index, form=True)
            return [replace(out, noted=out.noted | bit) for out in outs]
        return outs

    def plain(self, eqn: JaxprEqn, values: list[Output], place: Place, index: int) -> list[Output]:
        name, found = eqn.primitive.name, gathered(values)
        both = len(values) == 2 and name in BILINEAR
        apart = both and values[0].name != values[1].name
        found = replace(
            found,
            bent=bent(eqn, [value.leaves for value in values], [value.bent for value in values]),
            # Behind a layer, a gate or an attention an output is an output no more.
            noted=0 if apart and all(value.leaves for value in values) else found.noted,
            weight=name in VIEWS and values[0].weight,
        )
        if len(eqn.outvars) != 1:
            return [replace(found, given=_given(eqn, values, found, i)) for i in range(len(eqn.outvars))]
        found = replace(found, given=_given(eqn, values, found, 0), form=form_of(eqn, values))
        if name in _SAME:
            found = replace(found, name=values[0].name, shifted=values[0].shifted)
        if name == "sub" and found.form is not None and _is_shift(values):
            found = replace(found, shifted=values[0].name)
        found = replace(found, terms=self._terms(eqn, values, place, index))
        return [self._observed(eqn, values, found, place, index)]

    def _observed(self, eqn: JaxprEqn, ins: list[Output], found: Output, place: Place, index: int) -> Output:
        name, form = eqn.primitive.name, found.form
        noted, states, labelled = found.noted, found.states, found.labelled
        added = name == "reduce_sum" and form is not None and form.made is Made.SUM
        if added and form is not None and found.leaves and is_twice(ins[0].form, form.axes):
            noted |= self._see(Question.TWICE, eqn, found, place, index, form=True)
        if name in ("div", "sub") and form is not None and form.made in NORMALIZED and form.size == 1:
            noted |= self._see(Question.ONE_UNIT, eqn, found, place, index, form=True)
        if name == "logistic" and _is_probability(ins[0]):
            noted |= self._see(Question.TWICE, eqn, ins[0], place, index, form=True)
        if name == "sub":
            for a, b in (ins, ins[::-1]):
                if a.form is not None and a.form.made in RANGES and a.leaves and is_data(b):
                    noted |= self._see(Question.RANGE, eqn, a, place, index, form=True, given=b.given)
        chosen = _chosen(eqn, ins)
        if chosen is not None:
            labelled |= chosen[0].leaves
            self._see(Question.LABELS, eqn, chosen[0], place, index, given=chosen[1].given)
            made = chosen[0].form
            if made is not None and made.made in NORMALIZED and made.axes:
                kind, labels = Question.NORMALIZED_ALONG, chosen[1].given
                noted |= self._see(kind, eqn, chosen[0], place, index, form=True, given=labels)
        last = _last_starts(eqn, ins)
        if last is not None:
            states |= self._see(Question.INDEX, eqn, ins[0], place, index, given=ins[1].given, last=last)
        compared = _compared_with_classes(eqn, ins)
        if compared is not None:
            given, classes = compared
            noted |= self._see(Question.ONE_HOT, eqn, found, place, index, given=given, last=(classes - 1,))
        root = _root(eqn, ins)
        if root is not None and (name == "rsqrt" or name == "div"):
            states |= self._see(Question.STATE, eqn, found, place, index, given=root[0], small=root[1])
        return replace(
            found,
            noted=noted,
            states=states,
            labelled=labelled,
            offset=_offset(eqn, ins),
            root=root if name != "div" else None,
        )

    def _terms(self, eqn: JaxprEqn, ins: list[Output], place: Place, index: int) -> tuple[Term, ...]:
        if eqn.primitive.name == "sub":
            if is_likelihood(ins[0].form, ins[1].form):
                return (self._likelihood(eqn, ins[1], None, place, index),)
            if is_likelihood(ins[1].form, ins[0].form):
                return times((self._likelihood(eqn, ins[0], None, place, index),), -1.0)
        chosen = _chosen(eqn, ins, numbered=True)
        if chosen is not None and chosen[0].form is not None and chosen[0].form.made in LOG_PROBABILITIES:
            return (self._likelihood(eqn, *chosen, place, index),)
        if is_distance(eqn, ins):
            return (Term(self._see(Question.DISTANCE, eqn, ins[0], place, index).bit_length() - 1),)
        return terms_of(eqn, ins)

    def _likelihood(self, eqn: JaxprEqn, of: Output, labels: Output | None, place: Place, index: int) -> Term:
        given = labels.given if labels is not None else None
        bit = self._see(Question.CLASSES, eqn, of, place, index, form=True, given=given)
        return Term(bit.bit_length() - 1)

    def _see(
        self,
        kind: Question,
        eqn: JaxprEqn,
        of: Output,
        place: Place,
        index: int,
        *,
        form: bool = False,
        given: Given | None = None,
        small: float = 0.0,
        last: tuple[int, ...] = (),
    ) -> int:
        """The bit of what is seen here, the same one in every turn around a loop."""
        inside = self.around and self.around[0] is eqn
        observation = Observation(
            len(self.seen),
            kind,
            eqn,
            self.around[1:] if inside else self.around,
            of.site,
            of.form if form else None,
            given,
            of.leaves,
            small,
            last,
            of.weight,
        )
        return 1 << self.seen.setdefault((kind, id(place), id(eqn), index), observation).number


def _across(value: Output) -> Output:
    """Seen from the other side of a loop: what it depends on, and nothing else."""
    return replace(
        value, given=None, form=None, name=0, shifted=0, offset=None, root=None, terms=(), weight=False
    )


def _given(eqn: JaxprEqn, ins: Sequence[Output], found: Output, position: int) -> Given | None:
    operands = [value.given for value in ins if value.given is not None]
    if len(operands) < len(ins) or eqn.effects or (found.leaves and not found.weight):
        return None
    return Given(eqn=eqn, operands=operands, position=position)


def _is_probability(value: Output) -> bool:
    form = value.form
    return bool(value.leaves) and form is not None and form.made in PROBABILITIES and not form.scaled


def _is_shift(ins: Sequence[Output]) -> bool:
    peak = ins[1].form
    return peak is not None and peak.made is Made.PEAK and peak.of == ins[0].name


def _chosen(eqn: JaxprEqn, ins: Sequence[Output], *, numbered: bool = False) -> tuple[Output, Output] | None:
    """An output, and the data that weighs or chooses its elements; `numbered`: or numbers of the program."""
    name = eqn.primitive.name
    if name == "mul":
        pairs = [(a, b) for a, b in (ins, ins[::-1]) if a.leaves and not a.weight and is_data(b)]
        return pairs[0] if pairs else None
    return (ins[0], ins[1]) if chosen_by_labels(eqn, ins, numbered=numbered) else None


def _last_starts(eqn: JaxprEqn, ins: Sequence[Output]) -> tuple[int, ...] | None:
    """Where numbers of the batch choose from a parameter or from an output, and nothing says what happens to
    those that are out of range."""
    if eqn.primitive.name != "gather" or not ins[0].leaves or not is_data(ins[1]):
        return None
    return jaxprs.last_starts(eqn) if is_integer(eqn.invars[1].aval) else None


def _compared_with_classes(eqn: JaxprEqn, ins: Sequence[Output]) -> tuple[Given, int] | None:
    """Integers of the batch, and the number of classes that each is compared with, as in a one-hot."""
    if eqn.primitive.name != "eq":
        return None
    for place, other in ((0, 1), (1, 0)):
        labels, numbers = ins[place].given, ins[other].given
        written = numbers is not None and not numbers.data and not numbers.inputs
        counted = [size for size in shape_of(eqn.invars[other]) if size > 1]
        if labels is None or not (written and is_data(ins[place]) and len(counted) == 1):
            continue
        if is_integer(eqn.invars[place].aval):
            return labels, counted[0]
    return None


def _offset(eqn: JaxprEqn, ins: Sequence[Output]) -> tuple[Given, float] | None:
    """A state and the small number that keeps it from 0."""
    name = eqn.primitive.name
    if name in VIEWS:
        return ins[0].offset
    if name != "add":
        return None
    for a, b in (ins, ins[::-1]):
        number = b.given.number if b.given is not None else None
        if number is not None and 0 < number < 1 and is_data(a) and a.given is not None:
            return None if a.given.examples else (a.given, number)
    return None


def _root(eqn: JaxprEqn, ins: Sequence[Output]) -> tuple[Given, float] | None:
    name = eqn.primitive.name
    if name in ("sqrt", "rsqrt"):
        return ins[0].offset
    if name in VIEWS:
        return ins[0].root
    return ins[1].root if name == "div" and ins[0].root is None else None
