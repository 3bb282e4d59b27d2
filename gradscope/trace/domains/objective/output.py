"""What is known of one value on the way from the parameters and the batch to the loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any

import jax
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.forms import Form
from gradscope.trace.domains.objective.given import Given
from gradscope.trace.vocabulary import is_integer

OTHER = -1
"""The number of a term that is none of those, as a penalty."""


@dataclass(frozen=True, slots=True)
class Term:
    """Log-probabilities that targets weigh or labels choose, or distances from targets, on their way to the
    loss."""

    number: int
    scale: float = 1.0
    """What each of them is multiplied by."""


@dataclass(frozen=True, slots=True)
class Output:
    given: Given | None = field(default=None, compare=False)
    """How to compute it, where no parameter goes into it, or where it is one."""
    weight: bool = False
    """It is a parameter, in any arrangement."""
    leaves: int = 0
    """The parameters that it depends on."""
    bent: int = 0
    """Those in which it is no affine function."""
    labelled: int = 0
    """Those of which the batch chooses or weighs an output."""
    form: Form | None = field(default=None, compare=False)
    name: int = field(default=0, compare=False)
    """The same for the same value."""
    shifted: int = field(default=0, compare=False)
    """The name of the value which it is, less its maximum."""
    offset: tuple[Given, float] | None = field(default=None, compare=False)
    """What was given, and the small number that was added to it."""
    root: tuple[Given, float] | None = field(default=None, compare=False)
    """The same under a root."""
    noted: int = 0
    """Observations that it depends on without a layer in between."""
    states: int = 0
    """Observations of a state or of an index that it depends on in any way."""
    terms: tuple[Term, ...] = ()
    site: int | None = None


class Question(Enum):
    """What is asked of an operation on an output."""

    TWICE = "twice"
    ONE_UNIT = "one unit"
    RANGE = "range"
    LABELS = "labels"
    CLASSES = "classes"
    DISTANCE = "distance"
    """Of an output from targets: squared, or without its sign."""
    STATE = "state"
    INDEX = "index"
    """Numbers of the batch that choose rows of a parameter, or scores of classes."""
    ONE_HOT = "one hot"
    """Labels that are compared with the numbers of the classes."""
    NORMALIZED_ALONG = "normalized along"
    """Probabilities of which labels choose some, or which they weigh."""


@dataclass(frozen=True)
class Observation:
    """An operation on an output that has to be looked at with the numbers of the batch."""

    number: int
    kind: Question
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    site: int | None
    form: Form | None = None
    given: Given | None = None
    """The targets, the labels, or the state."""
    leaves: int = 0
    small: float = 0.0
    """What was added to the state."""
    last: tuple[int, ...] = ()
    """Of an index, by component: the largest that there is a place for."""
    weight: bool = False
    """What it chooses from is a parameter."""

    def values(self, inputs: Sequence[Sequence[Any]]) -> list[np.ndarray[Any, Any]]:
        """What was given, in every batch, as float64."""
        assert self.given is not None
        found = [self.given.value(each) for each in inputs]
        return [np.asarray(jax.device_get(each)).astype(np.float64) for each in found]


def is_data(value: Output) -> bool:
    """An array of targets: of the batch or of a constant, and no number that the program writes."""
    return value.given is not None and value.given.data and not value.weight


def chosen_by_labels(eqn: JaxprEqn, ins: Sequence[Output], *, numbered: bool = False) -> bool:
    """Integers of the data choose along the last axis, that of the classes; `numbered`: or those that the
    program writes, as the number of each row, where each is the class of its own."""
    if eqn.primitive.name != "gather" or not ins[0].leaves or ins[0].weight:
        return False
    written = numbered and ins[1].given is not None and not ins[1].given.inputs
    if not (is_data(ins[1]) or written):
        return False
    scores = shape_of(eqn.invars[0])
    classes = len(scores) - 1 in jaxprs.lookup(eqn).indexed and len(scores) > 1 < scores[-1]
    return classes and is_integer(eqn.invars[1].aval)


def gathered(values: Sequence[Output]) -> Output:
    """What any result of these depends on."""
    return Output(
        leaves=union(value.leaves for value in values),
        bent=union(value.bent for value in values),
        labelled=union(value.labelled for value in values),
        noted=union(value.noted for value in values),
        states=union(value.states for value in values),
        site=max((value.site for value in values if value.site is not None), default=None),
    )


def union(bits: Iterable[int]) -> int:
    return reduce(or_, bits, 0)
