"""Losses that fall as the outputs become wrong, and scores that are never negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.records import OutputFault, OutputMismatch, Source
from gradscope.trace.domains.objective import Seen
from gradscope.trace.domains.objective.forms import Made
from gradscope.trace.domains.objective.output import Observation, Question


def falls_when_wrong(
    seen: Seen, inputs: Sequence[Sequence[Any]], source: Source | None, layer: str | None
) -> OutputMismatch | None:
    """The loss is the log-probability of labels, or minus the distance of outputs from targets, by the first
    of its terms; `None` where another one has the usual sign."""
    first, form = seen.observation, seen.observation.form
    if any(each.number < first.number for each, _ in seen.beside):
        return None
    terms = [(first, seen.scale), *seen.beside]
    if not all(_falls(each, scale, inputs) for each, scale in terms):
        return None
    if first.kind is Question.DISTANCE or form is None:
        return OutputMismatch(OutputFault.DISTANCE, source, layer)
    return OutputMismatch(OutputFault.LIKELIHOOD, source, layer, classes=form.size, class_labels=True)


def never_negative(seen: Seen, source: Source | None, layer: str | None) -> OutputMismatch | None:
    """Scores of classes that are the output of a ReLU."""
    form = seen.observation.form
    scores = None if form is None else form.within
    if form is None or scores is None or scores.made is not Made.RELU or scores.scaled:
        return None
    return OutputMismatch(
        OutputFault.NEVER_NEGATIVE, source, layer, function=scores.made.value, classes=form.size
    )


def _falls(each: Observation, scale: float, inputs: Sequence[Sequence[Any]]) -> bool:
    """As the outputs become wrong."""
    if each.kind is Question.DISTANCE:
        return scale < 0
    if each.kind is not Question.CLASSES or each.form is None:
        return False
    if each.eqn.primitive.name != "mul" or each.given is None:
        return scale > 0
    weights = np.concatenate([np.ravel(one) for one in each.values(inputs)]) * scale
    shares = each.form.made is not Made.LOG_SIGMOID or bool((np.abs(weights) <= abs(scale)).all())
    return shares and weights.size > 1 and bool((weights >= 0).all() and (weights > 0).any())
