"""A term of the loss outweighs what the loss is for: of a code, of a policy, of the weights.

## What it does
Reports two terms of the loss where the first is a mean over all elements, and the second is a sum over the
outputs of a layer from which the first is computed, so that an element of the second weighs many times as
much. An autoencoder whose reconstruction is averaged over pixels and whose KL divergence is summed over the
code is one. And penalties on the weights, and the entropy of a choice, that keep the rest of the loss from
falling.

## Why is this bad
The loss falls, and nothing looks wrong. But the penalty is cheaper to lower than the error that it is held
against: a variational autoencoder lets its code carry nothing (posterior collapse) and reconstructs the mean
of all examples. The strength of the penalty also changes with the size of an example: a larger image makes it
stronger. A penalty on the weights is the sum over thousands of them beside a mean over examples, and pulls
them to 0 whatever the data say. A policy whose entropy weighs more than its rewards stays as random as it
was.

## How it is measured
From the program (its jaxpr). The loss is followed back through sums, means, views and constant factors to
the arrays that are reduced in it, each with the factor that an element of it gets in the loss. A term is
*averaged over N* where that factor is 1/N and N is the number of elements along some of its axes; it is
*summed* over the others. Two terms are compared where the second is taken, element by element, of outputs of
layers, and the first is computed from the same outputs by further layers.

Terms that read weights and nothing of the batch are taken off the loss exactly: it is linear in its summands,
so that what they add is its derivative along them. They are a penalty where the sign of the weights does not
matter to them and they fall on the straight way to 0, as norms do; the normalizing constant of a density is
none. Where their gradient is larger than that of the rest at
the start, the short training is run again, five times as long, once as it is and once without them: same
start, same batches, same random numbers. What is compared is the rest of the loss.

The same is tried without the entropy of a choice (a sum of p log p), where it reads the batch through the
model alone and other terms compare outputs with arrays of the batch: where its gradient is at least half of
the others', before the first step of the short training or after its last one. In the program that is tried
there is a 0 in its place.

A term that is taken, element by element, of outputs from which further layers make what is compared with the
data is tried where its gradient is at least half of that of the rest, for the weights that make these
outputs: 100 steps with a hundredth of it. Whether the outputs carry anything is told by exchanging them among
the rows of each batch, after the steps, in the rest of the loss.

## Limits
`ratio = 10`: the second term divides by so many fewer elements than the first. Source: a choice; a reduction
that is left out of a small code or of two coordinates stays below it. A factor between 1/2 and 2 belongs to a
formula, as the 1/2 of a KL divergence does; any other one was chosen, and with it the term is not judged.

Of penalties on weights: from where it starts, or from where it is with all weights 0 if that is lower, the
rest falls by more than `gain = 2` times as much without them, and by more than the share `fall = 0.1` of it
(as in `weight-decay-too-high`). That is tried; it is a warning all the same, since only data that was held
back could tell whether so much of a penalty is too much.

Of an entropy: without it the rest falls by more than the share `fall` of where it starts or ends, and with it
by less than the share `kept = 0.2` of that. A bonus of a hundredth keeps nothing back that one could see.
This is a warning, too, for it may be meant.

Of a penalty on outputs of layers, whatever its weight: with the outputs exchanged among the rows the rest of
the loss rises by less than `carried = 0.05` of what it rises by where a hundredth of the penalty was trained
with, and there it ends lower, by more than the share `fall`. Measured on six variational autoencoders:
below 0.002 where the code was empty, and 0.21 to 0.98 where it was not. That is tried, and a warning.

Of two terms that are reduced unalike it is a warning, too: that nobody wrote a weight is read from the
program, that none is meant is not.

## Example
    reconstruction = jnp.mean((decode(z) - x) ** 2)                       # over examples and pixels
    kl = 0.5 * jnp.sum(jnp.exp(logvar) + mean**2 - 1 - logvar, axis=1)    # over the code
    return reconstruction + jnp.mean(kl)

Use instead, to reduce both alike:

    reconstruction = jnp.mean(jnp.sum((decode(z) - x) ** 2, axis=1))

## What it does not say
From the program alone a term with a weight that the author wrote (a β, an entropy bonus of 0.01) is not
compared, nor one whose weight comes from the batch (a mask, an advantage) or from a variable; the training
without them has no such bounds, but takes 20 steps or more of the short training. Terms of different
outputs (a head for classes beside one for boxes), and functions that mix elements
before they are summed (a softmax, a cross-entropy, a load balance of experts) are no penalties on a code. A
code whose penalty is too weak is not looked for: it trains as an autoencoder.

## Source
Kingma and Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114 (both terms are sums over the
elements of an example); Higgins et al. 2017, *beta-VAE* (ICLR): the weight of the KL divergence, normalized
by the sizes of input and code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import (
    EmptyCode,
    Measurement,
    OutweighedTerms,
    Severity,
    ShortTraining,
    TermImbalance,
    UnpenalizedTraining,
)
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import names_of, number


@rule(
    "unbalanced-loss-terms",
    severity=Severity.WARNING,
    uses=("training",),
    single_seed_suffices=True,
    ratio=10.0,
    gain=2.0,
    fall=0.1,
    kept=0.2,
    carried=0.05,
)
def unbalanced_loss_terms(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    if training is not None and training.unpenalized is not None:
        yield from _penalty(training.unpenalized, training, limits)
    if training is not None and training.outweighed is not None:
        yield from _outweighed(training.outweighed, training, limits)
    empty = training.empty_code if training is not None else None
    told = empty is not None and _is_empty(empty, limits)
    if training is not None and empty is not None and told:
        yield _empty(empty, training, limits)
    for found in measurement.objective.imbalances:
        known = told and empty is not None and set(found.layers) <= set(empty.layers)
        if found.ratio >= limits["ratio"] and not known:
            yield _hit(found, limits["ratio"])


def _hit(found: TermImbalance, limit: float) -> Hit:
    code = f"what {names_of(found.layers)} put out" if len(found.layers) > 1 else "outputs of layers"
    if len(found.layers) == 1:
        code = f"the output of `{found.layers[0]}`"
    mean = f" and averaged over {found.divisor}" if found.divisor > 1 else ""
    ratio = number(found.ratio)
    return Hit(
        message=(
            f"This term of the loss is averaged over {found.averaged_over} elements. It is computed from "
            f"{code}, and the term{_at(found)} takes the same element by element, summed over "
            f"{found.summed_over}{mean}: each of its elements is divided by {ratio} times less (limit "
            f"{number(limit)}). If that term is a penalty, such as a KL divergence, it may outweigh this "
            "one, so that nothing is carried there."
        ),
        remedy=(
            "Reduce both alike: sum the first over the elements of an example, and average over the examples "
            f"(`jnp.mean(jnp.sum(error, axis=...))`). If the second is meant to weigh {ratio} times as much, "
            "ignore this."
        ),
        evidence={
            "averaged_over": found.averaged_over,
            "summed_over": found.summed_over,
            "divisor": found.divisor,
            "ratio": found.ratio,
            "limit": limit,
        },
        layer=found.layers[-1] if found.layers else None,
        source=found.averaged,
        severity=Severity.WARNING,
    )


def _penalty(tried: UnpenalizedTraining, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    base = min(tried.start, tried.at_zero)
    with_it, without = base - tried.end_with, base - tried.end_without
    if not (math.isfinite(without) and math.isfinite(with_it)):
        return
    if not without > max(limits["gain"] * max(with_it, 0.0), limits["fall"] * abs(base)):
        return
    yield Hit(
        message=(
            f"A penalty on the weights holds the loss up: {tried.steps} steps of {training.optimizer} take "
            f"the rest of the loss from {number(tried.start)} to {number(tried.end_with)}, and to "
            f"{number(tried.end_without)} without it. At the start its gradient is {number(tried.share)} "
            f"times that of the rest. With all weights 0 the rest is {number(tried.at_zero)}."
        ),
        remedy="If it is not meant to be so strong, divide its factor by "
        f"{number(_rounded(100 * tried.share))}, so that its gradient is a hundredth of the rest's. Where "
        "there are fewer examples than weights, compare on data that was held back: the training loss always "
        "falls further without a penalty.",
        evidence={
            "share": tried.share,
            "loss_before": tried.start,
            "loss_after": tried.end_with,
            "loss_after_without": tried.end_without,
            "limit": limits["gain"],
        },
        source=tried.source,
        severity=Severity.WARNING,
        layers=training.layers,
        explains=None,
    )


def _outweighed(tried: OutweighedTerms, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    with_them, without = tried.start - tried.end_with, tried.start - tried.end_without
    if not (math.isfinite(without) and math.isfinite(with_them)):
        return
    least = limits["fall"] * max(abs(tried.start), abs(tried.end_without))
    if not (without > least and with_them < limits["kept"] * without):
        return
    yield Hit(
        message=(
            f"The entropy in the loss holds the rest of it up: {tried.steps} steps of {training.optimizer} "
            f"take the rest from {number(tried.start)} to {number(tried.end_with)}, and to "
            f"{number(tried.end_without)} without it. In the short training its gradient is up to "
            f"{number(tried.share)} times that of the rest."
        ),
        remedy="If it is not meant to be so strong, write a factor of a tenth or a hundredth before it, and "
        "raise that while the rest still falls.",
        evidence={
            "share": tried.share,
            "loss_before": tried.start,
            "loss_after": tried.end_with,
            "loss_after_without": tried.end_without,
            "limit": limits["kept"],
        },
        source=tried.source,
        severity=Severity.WARNING,
        layers=training.layers,
        explains=None,
    )


def _is_empty(tried: EmptyCode, limits: Limits) -> bool:
    gained = tried.end - tried.end_with_less
    if not (math.isfinite(tried.carried) and math.isfinite(tried.carried_with_less)):
        return False
    least = limits["fall"] * max(abs(tried.end), abs(tried.end_with_less))
    return gained > least and tried.carried < limits["carried"] * tried.carried_with_less


def _empty(tried: EmptyCode, training: ShortTraining, limits: Limits) -> Hit:
    outputs = f"what {names_of(tried.layers)} put out" if len(tried.layers) > 1 else "the output of a layer"
    if len(tried.layers) == 1:
        outputs = f"the output of `{tried.layers[0]}`"
    return Hit(
        message=(
            f"This penalty on {outputs} outweighs the rest of the loss: after {tried.steps} steps of "
            f"{training.optimizer} nothing is carried there. The rest is {number(tried.end)}, and "
            f"{number(tried.exchanged)} with these outputs exchanged among the rows. Trained with "
            f"{number(tried.less)} of the penalty, the rest ends at {number(tried.end_with_less)}, and is "
            f"{number(tried.exchanged_with_less)} with them exchanged. At the start the gradient of the "
            f"penalty is {number(tried.share)} times that of the rest, for the weights that make them."
        ),
        remedy="Reduce both terms alike (sum over the elements of an example, mean over the examples), write "
        "a smaller factor before the penalty, or begin with a small one and raise it while the rest falls.",
        evidence={
            "share": tried.share,
            "loss_after": tried.end,
            "loss_exchanged": tried.exchanged,
            "loss_after_with_less": tried.end_with_less,
            "loss_exchanged_with_less": tried.exchanged_with_less,
            "limit": limits["carried"],
        },
        layer=tried.layers[-1] if tried.layers else None,
        source=tried.source,
        severity=Severity.WARNING,
        layers=training.layers,
        explains=None,
    )


def _rounded(value: float) -> float:
    """To one digit."""
    return float(f"{value:.0e}")


def _at(found: TermImbalance) -> str:
    if found.summed is None:
        return " that is added to it"
    return " on the same line" if found.summed == found.averaged else f" at {found.summed}"
