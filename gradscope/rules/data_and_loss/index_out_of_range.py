"""Numbers of the batch choose places that are not there: JAX takes the nearest one and says nothing.

## What it does
Reports tokens for which an embedding table has no row, and labels for which there is no class: those that run
from 1 to the number of classes, which in JAX count from 0.

## Why is this bad
Indexing (`table[tokens]`, `log_p[rows, labels]`) does not fail: an index beyond the end takes the last place,
so that several tokens share one row, and one class is learned in the place of another. A one-hot of such a
label is a row of zeros: these examples do not count.

## How it is measured
The numbers are those of the measured batches, as they arrive at the operation, compared with the size of what
they choose from. Exact, element by element. An index below 0 counts from the end, as in NumPy.

## Limits
None. An error where several different tokens are out of range, and where labels run from 1 to the number of
classes, with none of class 0. One single token out of range may stand for what is masked later, and is a
warning. Other labels out of range (255, or below 0) usually mark what does not count, and are not told.

## Example
    table = jax.random.normal(key, (1000, 64))      # and tokens up to 1023
    h = table[tokens]

Use instead a table with a row for each token, and labels that count from 0:

    table = jax.random.normal(key, (1024, 64))
    labels = labels - 1

## What it does not say
`jnp.take` and `take_along_axis` fill in NaN by themselves, which is `non-finite`. Indices that the program
clips or fills on purpose (`mode="clip"`), and those inside a loop, are not looked at.

## Source
JAX, *The Sharp Bits*, out-of-bounds indexing; Morovati et al. 2023, *defect4ML* (wrong label encoding).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import IndexRange, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule


@rule("index-out-of-range", severity=Severity.ERROR, single_seed_suffices=True)
def index_out_of_range(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    for found in measurement.objective.index_ranges:
        if found.labels and not _from_one(found):
            continue
        yield Hit(
            message=_of_labels(found) if found.labels else _of_tokens(found),
            remedy="Let labels count from 0: `labels - 1`."
            if found.labels
            else f"Give the table {found.largest + 1:,} rows, or look at how the tokens are made.",
            evidence={
                "places": found.places,
                "smallest": found.smallest,
                "largest": found.largest,
                "outside": found.outside,
                "total": found.total,
            },
            layer=found.layer,
            source=found.source,
            severity=Severity.ERROR if found.labels or found.values > 1 else Severity.WARNING,
            explains=(found.layer,) if found.layer else (),
        )


def _from_one(found: IndexRange) -> bool:
    """Labels of which none is class 0, and one is beyond the last class."""
    return (found.smallest, found.largest) == (1, found.places)


def _of_labels(found: IndexRange) -> str:
    what = (
        "a row of zeros in their one-hot, and do not count"
        if found.one_hot
        else f"taken for class {found.places - 1}, as JAX takes the nearest place"
    )
    return (
        f"The labels run from 1 to {found.largest}, and there are {found.places} classes, 0 to "
        f"{found.places - 1}: {found.outside:,} of {found.total:,} labels are {what}, and no label is 0."
    )


def _of_tokens(found: IndexRange) -> str:
    end = "the first or the last row" if found.smallest < 0 else "the last row"
    return (
        f"{found.outside:,} of the {found.total:,} indices into a table of {found.places:,} rows are out of "
        f"range: they run from {found.smallest:,} to {found.largest:,}. JAX takes {end} for all of them, "
        f"which are {found.values:,} different values."
    )
