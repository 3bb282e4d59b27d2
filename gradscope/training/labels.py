"""Whether the labels of a data set come in runs: batches that each hold few of the classes that all have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from gradscope.records import LabelMixing
from gradscope.trace.leaves import path_name, split
from gradscope.trace.program import Inputs, Program
from gradscope.training.uses import uses_of

FEWEST_ROWS = 4
"""In a batch of two or three rows nothing is mixed."""


def label_mixing(program: Program, first: Inputs, batches: Sequence[Any]) -> Iterator[LabelMixing]:
    """Of each array of class labels: integers, one for each row of a batch, that choose among outputs."""
    if len(batches) < 2:
        return
    flat = [jax.tree_util.tree_flatten_with_path(batch)[0] for batch in batches]
    traced = split(batches[0]).traced
    rest = len(first.others) - len(traced) - 1  # the key stands last
    for number, index in enumerate(traced):
        arrays = [np.asarray(leaves[index][1]) for leaves in flat]
        if all(map(_are_labels, arrays)) and uses_of(program, rest + number).is_label:
            yield _mixing(path_name(flat[0][index][0]) or "batch", [array.ravel() for array in arrays])


def _are_labels(array: Any) -> bool:
    rows = array.shape[0] if array.ndim else 0
    return array.dtype.kind in "iub" and rows >= FEWEST_ROWS and array.size == rows


def _mixing(name: str, labels: Sequence[Any]) -> LabelMixing:
    classes, counts = np.unique(np.concatenate(labels), return_counts=True)
    found = float(np.mean([np.unique(each).size for each in labels]))
    shares = counts / counts.sum()
    rows = float(np.mean([each.size for each in labels]))
    return LabelMixing(
        name=name if name[0].isalpha() else f"batch{name}",
        batches=len(labels),
        classes=int(classes.size),
        in_a_batch=found,
        expected=float(np.sum(1.0 - (1.0 - shares) ** rows)),
    )
