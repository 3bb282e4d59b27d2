"""One term of the loss is averaged over elements over which another, a penalty on its code, is summed.

## What it does
Reports two terms of the loss where the first is a mean over all elements, and the second is a sum over the
outputs of a layer from which the first is computed, so that an element of the second weighs many times as
much. An autoencoder whose reconstruction is averaged over pixels and whose KL divergence is summed over the
code is one.

## Why is this bad
The loss falls, and nothing looks wrong. But the penalty is cheaper to lower than the error that it is held
against: a variational autoencoder lets its code carry nothing (posterior collapse) and reconstructs the mean
of all examples. The strength of the penalty also changes with the size of an example: a larger image makes it
stronger.

## How it is measured
From the program (its jaxpr). The loss is followed back through sums, means, views and constant factors to
the arrays that are reduced in it, each with the factor that an element of it gets in the loss. A term is
*averaged over N* where that factor is 1/N and N is the number of elements along some of its axes; it is
*summed* over the others. Two terms are compared where the second is taken, element by element, of outputs of
layers, and the first is computed from the same outputs by further layers.

## Limits
`ratio = 10`: the second term divides by so many fewer elements than the first. Source: a choice; a reduction
that is left out of a small code or of two coordinates stays below it. A factor between 1/2 and 2 belongs to a
formula, as the 1/2 of a KL divergence does; any other one was chosen, and with it the term is not judged.

It is a warning: that nobody wrote a weight is read from the program, that none is meant is not.

## Example
    reconstruction = jnp.mean((decode(z) - x) ** 2)                       # over examples and pixels
    kl = 0.5 * jnp.sum(jnp.exp(logvar) + mean**2 - 1 - logvar, axis=1)    # over the code
    return reconstruction + jnp.mean(kl)

Use instead, to reduce both alike:

    reconstruction = jnp.mean(jnp.sum((decode(z) - x) ** 2, axis=1))

## What it does not say
A term with a weight that the author wrote (a β, a weight decay, an entropy bonus of 0.01) is not compared,
nor one whose weight comes from the batch (a mask, an advantage) or from a variable. Terms of different
outputs (a head for classes beside one for boxes), penalties on weights, and functions that mix elements
before they are summed (a softmax, a cross-entropy, a load balance of experts) are no penalties on a code. A
code whose penalty is too weak is not looked for: it trains as an autoencoder.

## Source
Kingma and Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114 (both terms are sums over the
elements of an example); Higgins et al. 2017, *beta-VAE* (ICLR): the weight of the KL divergence, normalized
by the sizes of input and code.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, TermImbalance
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import names_of, number


@rule("unbalanced-loss-terms", severity=Severity.WARNING, single_seed_suffices=True, ratio=10.0)
def unbalanced_loss_terms(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    for found in measurement.objective.imbalances:
        if found.ratio >= limits["ratio"]:
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
    )


def _at(found: TermImbalance) -> str:
    if found.summed is None:
        return " that is added to it"
    return " on the same line" if found.summed == found.averaged else f" at {found.summed}"
