"""A reshape stands in the place of a transpose: the shape of another order of the axes, and not its values.

## What it does
Reports a `reshape` of values made of the batch whose result has an axis of the operand at another place, as
(examples, steps, heads * width) and (examples, heads, steps, width), or (steps, examples) and (examples,
steps).

## Why is this bad
A reshape keeps the order of the elements and only cuts it anew. A place of the result then holds pieces of
several places or examples: heads of an attention see a part of the sequence each, rows of a batch are
mixed. All shapes fit, and the loss still falls.

## How it is measured
Read from the shapes: an axis (or neighbours, as rows and columns of an image) keeps its length and has
another number of elements before it, and to move an axis, after a split or before a merge, gives the same
shape. Of how many places the elements lie in one place of the result is counted. Then the program is
trained with the axes moved in all such reshapes, from the same weights on the same batches, five times as
many steps as the short training has.

## Limits
An error where that is clearly better: it gains twice as much, or it ends at half of the loss or less, by at
least 5 % of what it gains. Source: a choice; in programs with this fault the loss ended 19 times lower and
more. Where it was not tried, and an axis is split or merged, a warning; else a note. A loss that falls by 1
% of itself or less with it is not better, nor one that falls by less than a tenth of what it falls by
without, unless it ends at half that share of its start or less.

## Example
    q = (x @ wq).reshape(batch, heads, steps, width)

Use instead:

    q = (x @ wq).reshape(batch, steps, heads, width).swapaxes(1, 2)

## What it does not say
Where lengths are equal (as many steps as heads) a shape tells nothing. A reshape of padded rows, which
shifts them against each other (relative positions), is meant and left out. Cutting an image into patches by
a reshape alone is not seen.

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems* (wrong tensor shape); Jahan et al.
2025 on faults in attention; `view` in the place of `transpose` in many questions about multi-head
attention."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import BatchMix, Measurement, ReshapedAxes, Severity, ShortTraining, Structure
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.variants import compared
from gradscope.rules.words import shape_text


@rule("reshape-for-transpose", severity=Severity.ERROR, uses=("training",))
def reshape_for_transpose(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    del limits
    structure = measurement.structure
    tried = structure.transposed
    proved = [each for each in measurement.objective.batch_leaks if each.mix is BatchMix.RESHAPE]
    better = tried is not None and tried.better
    found = [each for each in structure.reshapes if better or each.source not in [x.source for x in proved]]
    if not found:
        return
    first = found[0]
    yield Hit(
        message=f"{_what(first)}{_more(found)}{compared(tried, training, 'the axes exchanged')}",
        remedy=f"Exchange the axes: `{first.written}`."
        + ("" if better else " Where the elements are meant to be cut anew, ignore this."),
        evidence={"places": first.places, "mixed": first.mixed, "reshapes": len(found)}
        | ({} if tried is None else {"loss_after": tried.end_without, "loss_after_exchange": tried.end}),
        layer=first.layer,
        source=first.source,
        layers=tuple(dict.fromkeys(each.layer for each in found if each.layer)),
        severity=_severity(structure, first),
    )


def _severity(structure: Structure, first: ReshapedAxes) -> Severity:
    if structure.transposed is None:
        return Severity.WARNING if first.split else Severity.NOTE
    return Severity.ERROR if structure.transposed.better else Severity.NOTE


def _what(found: ReshapedAxes) -> str:
    to, of = _axes(found.to, found.axes), _axes(found.axis, found.axes)
    return (
        f"A reshape turns {shape_text(found.shape)} into {shape_text(found.result)}. It keeps the order of "
        f"the elements: a place along {to} of the result holds elements of up to {found.mixed:,} of the "
        f"{found.places:,} places along {of} of the operand."
    )


def _axes(first: int, count: int) -> str:
    return f"axis {first}" if count == 1 else f"axes {first} to {first + count - 1}"


def _more(found: list[ReshapedAxes]) -> str:
    rest = len(found) - 1
    if not rest:
        return ""
    return f" {rest} more {'reshape does' if rest == 1 else 'reshapes do'} the same."
