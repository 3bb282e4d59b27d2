"""Whether the labels of a data set come in runs: batches that each hold few of the classes that all have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from gradscope.records import LabelMixing
from gradscope.trace.domains.uses import arrays_of, uses_of
from gradscope.trace.program import Inputs, Program

FEWEST_ROWS = 4
"""In a batch of two or three rows nothing is mixed."""


def label_mixing(program: Program, first: Inputs, batches: Sequence[Any]) -> Iterator[LabelMixing]:
    """Of each array of class labels: integers, one for each row of a batch, that choose among outputs."""
    if len(batches) < 2:
        return
    flat = [jax.tree.leaves(batch) for batch in batches]
    for found in arrays_of(batches[0], first):
        arrays = [np.asarray(leaves[found.index]) for leaves in flat]
        if all(map(_are_labels, arrays)) and uses_of(program, found.place).is_label:
            yield _mixing(found.name, [array.ravel() for array in arrays])


def _are_labels(array: Any) -> bool:
    rows = array.shape[0] if array.ndim else 0
    return array.dtype.kind in "iub" and rows >= FEWEST_ROWS and array.size == rows


def _mixing(name: str, labels: Sequence[Any]) -> LabelMixing:
    classes, counts = np.unique(np.concatenate(labels), return_counts=True)
    found = float(np.mean([np.unique(each).size for each in labels]))
    shares = counts / counts.sum()
    rows = float(np.mean([each.size for each in labels]))
    return LabelMixing(
        name=name,
        batches=len(labels),
        classes=int(classes.size),
        in_a_batch=found,
        expected=float(np.sum(1.0 - (1.0 - shares) ** rows)),
    )
