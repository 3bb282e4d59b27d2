"""All labels are one class, or all examples are the same: there is nothing to learn from.

## What it does
Reports class labels that are all the same number, and inputs of which every row of a batch is the same, in
all batches that were drawn.

## Why is this bad
The loss falls nicely, as a constant is easy to learn, and the network has learned nothing else. A conversion
to integers before a division, an index in a loader that never moves, or a seed that every worker shares are
how it happens.

## How it is measured
By comparing the rows of up to eight batches bit by bit. Labels are integers, one for each row, that choose
among outputs. Inputs are told only where all arrays that go into the network are constant.

## Limits
`rows = 16`: in all batches together; of fewer nothing is said. Exact; a warning, as data that were cut out
for a test look the same.

## Example
    labels = (scores / 3).astype(int)       # scores of 0, 1, 2: all are 0

Use instead:

    labels = scores

## What it does not say
Targets that are no classes (of a residual that has to vanish) may well be constant.

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems* (wrong labels, unbalanced data);
Jiang et al. 2025, *TrainCheck* (loaders whose workers share a seed).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import ConstantArray, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("constant-data", severity=Severity.WARNING, needs=("training",), single_seed_suffices=True, rows=16)
def constant_data(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    for array in training.constant:
        if array.rows < limits["rows"]:
            continue
        yield Hit(
            message=_of_labels(array) if array.labels else _of_rows(array),
            remedy="Look at how they are made: a conversion to integers too early, a filter, a wrong column."
            if array.labels
            else "Look at the loader: an index that does not move, or a seed that is set anew for each row.",
            evidence={"rows": array.rows, "batches": array.batches, "limit": limits["rows"]},
            layers=training.layers,
        )


def _of_labels(array: ConstantArray) -> str:
    value = "" if array.value is None else f": {number(array.value)}"
    batches = "1 batch" if array.batches == 1 else f"{array.batches} batches"
    return f"All {array.rows:,} labels `{array.name}` of {batches} are the same{value}."


def _of_rows(array: ConstantArray) -> str:
    where = "" if array.batches == 1 else f" within each of {array.batches} batches"
    return (
        f"All rows of the input `{array.name}` are the same{where}, {array.rows:,} in all, and nothing else "
        "goes into the network that is not."
    )
