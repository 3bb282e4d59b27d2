"""The targets are far from mean 0 and standard deviation 1, and learning is much faster where they are not.

## What it does
Looks for float arrays of the batch that the loss compares with and whose numbers are large or far from 0, and
trains the same steps once more with each of them standardized. Where a far larger share of the loss is then
gone, it says so.

## Why is this bad
An output layer starts near 0 and moves by about the learning rate a step. Prices of 200,000 are out of reach
for thousands of steps, and a squared error of 4e10 makes gradients that no rate suits.

## How it is measured
Tried: 100 steps of the short training from the same start, over the same batches and random numbers, with the
array less its mean over its standard deviation (of the first batch). What is compared is the share of the
first loss that the steps take away, since the loss itself is then another.

## Limits
`share = 0.1`: with the target standardized the steps have to take away this share of the loss. `gain = 3`:
and so many times the share that they take away as it is. An array is tried where its rms is above 10, or a
|mean| above 3 standard deviations. Sources: choices. Only what was tried is told, as a warning, or as an
error where the loss rises under your optimizer.

## Example
    y = prices                                # 80,000 to 900,000

Use instead, and undo it for predictions:

    y = (prices - prices.mean()) / prices.std()

## What it does not say
Counts under a Poisson loss, labels and masks are no such targets: where standardizing them makes no sense,
ignore the rule.

## Source
LeCun et al. 1998, *Efficient BackProp*, section 4.5 (target values); Humbatova et al. 2020, *Taxonomy of Real
Faults in Deep Learning Systems*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.data_and_loss.unnormalized_input import how, severity_of
from gradscope.rules.words import number


@rule(
    "unscaled-target",
    severity=Severity.ERROR,
    symptom_of=("missing-bias",),
    needs=("training",),
    share=0.1,
    gain=3.0,
)
def unscaled_target(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    for array in training.standardized:
        own = share_taken(array.start_without, array.end_without)
        share = share_taken(array.start, array.end)
        if array.is_input or not share > max(limits["share"], limits["gain"] * own):
            continue
        yield Hit(
            message=f"The target `{array.name}` is not scaled: {how(array)}. {array.steps} steps of "
            f"{training.optimizer} take the loss from {number(array.start_without)} to "
            f"{number(array.end_without)}; with it standardized, from {number(array.start)} to "
            f"{number(array.end)}.",
            remedy=f"Standardize `{array.name}` with its mean and standard deviation over the training set, "
            "and undo that for predictions.",
            evidence={
                "rms": array.rms,
                "off_center": array.off_center,
                "share": own,
                "share_standardized": share,
                "limit": limits["gain"],
            },
            severity=severity_of(training, array),
            layers=training.layers,
            explains=None,
        )


def share_taken(start: float, end: float) -> float:
    """Of the loss that the steps take away; 0 where it rises or has no meaning."""
    return max(0.0, (start - end) / start) if start > 0 and math.isfinite(end) else 0.0
