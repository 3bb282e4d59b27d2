"""Rows of labels with more than one 1 under a softmax, whose probabilities add up to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.records import OutputFault, OutputMismatch, Source
from gradscope.trace.domains.objective import Seen
from gradscope.trace.domains.objective.output import Question
from gradscope.trace.domains.uses import uses_of
from gradscope.trace.program import Program


def asks_for_classes(program: Program, seen: Seen, examples: int) -> bool:
    """A cross-entropy that is minimized, with labels for each class.

    It is none where the network gets the labels, too, whose counts a multinomial likelihood is of, nor where
    the classes are the examples, as in a contrastive loss with several positives.
    """
    each, form = seen.observation, seen.observation.form
    if each.kind is not Question.CLASSES or form is None or len(form.axes) != 1 or not seen.scale < 0:
        return False
    if each.eqn.primitive.name != "mul" or each.given is None or form.size in (1, examples):
        return False
    weights = len(program.leaves)
    uses = [uses_of(program, place - weights) for place in each.given.inputs if place >= weights]
    return not any(one.is_input or one.meets_weights for one in uses)


def several_labels(
    seen: Seen, labels: Sequence[np.ndarray[Any, Any]], source: Source | None, layer: str | None
) -> OutputMismatch | None:
    """`None` where a label is another number than 0 and 1, and where no row has two."""
    form = seen.observation.form
    assert form is not None
    rank = max(form.axes) + 1
    if not all(one.ndim >= rank and bool(((one == 0) | (one == 1)).all()) for one in labels):
        return None
    counts = np.concatenate([one.sum(form.axes[0]).ravel() for one in labels]).astype(int)
    if not (counts > 1).any():
        return None
    return OutputMismatch(
        OutputFault.SEVERAL_LABELS,
        source=source,
        layer=layer,
        function="softmax",
        classes=form.size,
        class_labels=True,
        labelled=int((counts > 0).sum()),
        several=int((counts > 1).sum()),
        most=int(counts.max()),
    )
