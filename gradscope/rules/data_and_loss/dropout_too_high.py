"""Dropout stands behind the last layer, or keeps so little that the network does not learn through it.

## What it does
Reports dropout of an output that no layer follows, and dropout inside that keeps less than 0.3 of the values,
where the same training without it ends far lower.

## Why is this bad
Behind the last layer nothing can make up for what is missing: an output is 0, or so many times too large, by
chance. For a squared error with half of the outputs kept, the best output is half the target. Inside, a rate
that was meant as the share to keep (0.98 for 0.02) leaves a network of a few units, another one at each step.

## How it is measured
From the program (its jaxpr), at any depth and whoever wrote it: a mask is a comparison of random numbers with
a number, and dropout a product with it, or a choice between 0 and a value that comes from parameters and the
batch. A mask that is also counted, or that chooses elements of the batch, says what is asked for: it is none.
What a mask keeps is counted over 32 draws. It is on the output where no product with parameters lies between
it and the loss. The short training is then run five times as long from the same start, as it is and with each
value times the mean of its mask, which is what dropout does in evaluation. Both are compared without masks.

## Limits
- `worse = 0.1`: on the output, an error; with dropout the loss ends higher by more than this share of what
  the training without it has lowered it by, from the start or from weights of 0, whichever is lower. A
  regression with a rate of 0.5 there lost 0.27. Source: that measurement. For a linear output and a squared
  error, a rate r costs r² of the variance.
- `inside = 0.5`: the same for dropout inside. Rates of 0.1 and 0.5 cost 0.05 and 0.21 in the first 100 steps
  of classifiers of three layers, and a rate of 0.98 cost 0.94. Source: these measurements.

On the output it is a warning where it costs a fifth of `worse` or was not tried, else a note. Inside it is a
note where it was not tried, else nothing.

## Example
    x = nn.Dense(1)(x)
    return nn.Dropout(0.5, deterministic=not train)(x)

Use instead:

    x = nn.Dropout(0.5, deterministic=not train)(x)
    return nn.Dense(1)(x)

## What it does not say
What dropout is worth on other data was not measured. A mask inside of a function with a derivative rule of
its own, or on one device of a mesh, is not seen, nor is a rate that the batch decides.

## Source
Srivastava et al. 2014, *Dropout*, JMLR 15; Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning
Systems* (suboptimal regularisation).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Dropout, DropoutTrial, Severity, ShortTraining, Source
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

LAST = "Leave the dropout on the output out: put it before the last layer, if anywhere."
INSIDE = (
    "Lower the rate: 0.1 to 0.5 are usual. The argument of Flax, Equinox, Haiku and Keras is the share that "
    "is dropped, not the one that is kept."
)
A_LITTLE = 0.2


@rule("dropout-too-high", severity=Severity.ERROR, needs=("training",), worse=0.1, inside=0.5)
def dropout_too_high(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    places: dict[tuple[Source | None, bool], list[Dropout]] = {}
    for each in training.dropouts:
        places.setdefault((each.source, each.last), []).append(each)
    for (source, last), found in places.items():
        severity = _severity(last, found[0].trial, limits)
        if severity is None:
            continue
        kept, total = sum(each.kept for each in found), sum(each.total for each in found)
        layers = tuple(dict.fromkeys(each.layer for each in found if each.layer))
        yield Hit(
            message=f"{_what(last, layers, kept, total)}{_trial(found[0].trial, len(places) > 1)}",
            remedy=LAST if last else INSIDE,
            evidence={
                "kept": kept / total,
                "on_output": int(last),
                "limit": limits["worse" if last else "inside"],
                **_evidence(found[0].trial),
            },
            layer=layers[0] if layers else None,
            source=source,
            severity=severity,
            layers=layers,
        )


def _what(last: bool, layers: tuple[str, ...], kept: int, total: int) -> str:
    of = f" of {' and '.join(f'`{layer}`' for layer in layers)}" if layers else ""
    share = f"keeps {kept / total:.3g} of the values ({kept:,} of {total:,} that were drawn)"
    if last:
        return f"No layer stands between the loss and this dropout of the output{of}: it {share}."
    return f"Dropout of the output{of} {share}."


def _trial(tried: DropoutTrial | None, several: bool) -> str:
    if tried is None:
        return ""
    them = "all of these" if several else "it"
    return (
        f" {tried.steps} steps take the loss, evaluated without masks, from {number(tried.start)} to "
        f"{number(tried.end_with)}, and to {number(tried.end_without)} without {them}."
    )


def _severity(last: bool, tried: DropoutTrial | None, limits: Limits) -> Severity | None:
    below = Severity.NOTE if last else None
    if tried is None:
        return Severity.WARNING if last else Severity.NOTE
    if not math.isfinite(tried.end_without) or math.isnan(tried.lost):
        return below
    if tried.lost > limits["worse" if last else "inside"]:
        return Severity.ERROR
    return Severity.WARNING if last and tried.lost > A_LITTLE * limits["worse"] else below


def _evidence(tried: DropoutTrial | None) -> dict[str, float]:
    if tried is None:
        return {}
    return {
        "loss_before": tried.start,
        "loss_after": tried.end_with,
        "loss_after_without_dropout": tried.end_without,
        "lost": tried.lost,
    }
