"""No parameter is ever added to anything, and the targets lie far from 0.

## What it does
Looks for targets whose mean is several standard deviations from 0 in a program all of whose parameters are
factors, in matrix products, convolutions or scales: no layer has a bias. It trains the same steps once more
with the mean taken off the target, and says so where a far larger share of the loss is then gone.

## Why is this bad
Without a bias a network gives 0 at an input of 0. With `tanh` it is odd, so that for inputs around 0 its mean
output is 0 whatever the weights: an offset of the targets cannot be learned at all. With ReLU it can only be
put together from the sizes of the inputs. What the weights learn is the offset, and not the targets.

## How it is measured
Exactly, from the program of the loss (its jaxpr): each leaf enters products and multiplications alone, each
with something that depends on the batch. No array is joined with a constant one, and no feature of the inputs
is the same number in all examples: its weights would be a bias. The target meets the output in one
difference, so that to take its mean off is the same as to add it to the output. Then tried: 100 steps of the
short training from the same start, over the same batches and random numbers, with the mean (of the first
batch) taken off.

## Limits
`share = 0.1`: with the mean taken off the steps have to take away this share of the loss. `gain = 3`: and so
many times the share that they take away as it is. A target is tried where a |mean| is above 3 standard
deviations. Sources: choices, those of `unscaled-target`. A warning, or an error where the loss rises under
your optimizer.

## Example
    x = jnp.tanh(x @ params["hidden"])
    return x @ params["out"]                  # y has a mean of 3

Use instead a bias in the last layer, which may begin at the mean of the targets:

    return x @ params["out"] + params["b"]

## What it does not say
A network with a single bias, a shift of a normalization or an embedding is left to `unscaled-target`, and so
are targets that are only large. Parameters inside of loops (`scan`) and branches are not looked at.

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems* (ICSE), arXiv:1910.11015 (missing
bias); Karpathy 2019, *A Recipe for Training Neural Networks* ("init well": the last bias at the mean of the
targets).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.data_and_loss.unscaled_target import share_taken
from gradscope.rules.words import number


@rule("missing-bias", severity=Severity.ERROR, needs=("training",), share=0.1, gain=3.0)
def missing_bias(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    for tried in training.offsets:
        own = share_taken(tried.start_without, tried.end_without)
        share = share_taken(tried.start, tried.end)
        if not share > max(limits["share"], limits["gain"] * own):
            continue
        harm = training.own and not tried.end_without <= tried.start_without
        yield Hit(
            message=f"No parameter is added to anything: no layer has a bias. The target `{tried.name}` has "
            f"a mean of {number(tried.mean)}, {number(tried.off_center)} standard deviations from 0. "
            f"{tried.steps} steps of {training.optimizer} take the loss from {number(tried.start_without)} "
            f"to {number(tried.end_without)}; with the mean taken off, as a bias of the output would do, "
            f"from {number(tried.start)} to {number(tried.end)}.",
            remedy=f"Give the last layer a bias, which may begin at the mean of `{tried.name}`.",
            evidence={
                "mean": tried.mean,
                "off_center": tried.off_center,
                "share": own,
                "share_with_bias": share,
                "limit": limits["gain"],
            },
            layer=tried.layer,
            source=tried.source,
            severity=Severity.ERROR if harm else Severity.WARNING,
            layers=training.layers,
            explains=None,
        )
