"""The rows of a batch become alike on their way through the layers, and stay so when steps are taken.

## What it does
Reports a network of which an early layer tells the rows of the batch (examples, or nodes of a graph) apart,
and the last layers give all of them nearly the same output, before and after the short training.

## Why is this bad
What the last layer gets is one vector, with a little of each row on top: the loss falls to what the
frequencies of the classes alone give, and stays there. Averaging over neighbours in each of many layers does
that to a graph (over-smoothing), and so do saturated or badly scaled layers one after the other.

## How it is measured
The *spread* of an output is the rms of what is left of its elements without their mean over the rows of the
batch, over the rms of the output: 0 where all rows are alike, near 1 where they have nothing in common. It is
measured in a forward pass of its own, at the params of the file and after the short training, and only where
gradients ask for it: those of two of the last four matrices have to be outer products of two vectors to
within 3 % of their norm, as the sum over rows is where all have one input.

## Limits
- `spread = 0.03`: at the last layer and the ones before it, two at least, before and after the steps. Source:
  measured. In a hidden layer of the healthy sample models, and of networks of 4 to 50 layers of ReLU, GELU or
  tanh without normalization, it was 0.2 or more; behind twelve averages over
  neighbours it was 0.006. Four sigmoids, which do train, came to 0.01, and had 0.04 to 0.11 after 20 steps.
- `reference = 0.2`: some layer before them has to have so much: rows that are alike in the batch say nothing
  of the network.

It is a warning: that this is why a network does not learn was not tried.

## Example
    for layer in params["layers"]:
        h = jax.nn.relu(mean_of_neighbours @ h @ layer["w"])

Use instead fewer layers, or let the rows past each of them:

        h = h + jax.nn.relu(mean_of_neighbours @ h @ layer["w"])

## What it does not say
A last layer alone may have one output for all, as one that starts at zero or predicts a value with a large
mean; it is not reported, and neither is a layer behind which the rows differ again. Layers whose first axis
is not that of the last layer's rows are not looked at. Tokens of one sequence, or nodes of each of several
graphs, that become alike among themselves are not looked for.

## Source
Li, Han and Wu 2018, *Deeper Insights into Graph Convolutional Networks*, arXiv:1801.07606; Oono and Suzuki
2020, *Graph Neural Networks Exponentially Lose Expressive Power*, arXiv:1905.10947; Schoenholz et al. 2017,
*Deep Information Propagation*, arXiv:1611.01232 (inputs whose correlation goes to 1 with depth).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from gradscope.records import Measurement, RowSpread, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

FEWEST_LAYERS = 2
SYMPTOM_OF = (
    "vanishing-gradient", "zero-gradient", "blocked-gradient", "unnormalized-input", "wrong-mode",
    "mismatched-output", "symmetric-units", "copied-initialization", "learning-rate-too-high",
)  # fmt: skip


@rule(
    "collapsed-representations",
    severity=Severity.WARNING,
    symptom_of=SYMPTOM_OF,
    needs=("flow", "training"),
    spread=0.03,
    reference=0.2,
)
def collapsed_representations(
    measurement: Measurement, training: ShortTraining, limits: Limits
) -> Iterator[Hit]:
    def alike(each: RowSpread) -> bool:
        return max(each.before, each.after) <= limits["spread"]

    tail = list(takewhile(alike, reversed(training.spreads)))[::-1]
    before = training.spreads[: len(training.spreads) - len(tail)]
    if len(tail) < FEWEST_LAYERS or not before:
        return
    widest = max(before, key=lambda each: each.before)
    if widest.before < limits["reference"]:
        return
    first, last = tail[0], tail[-1]
    yield Hit(
        message=(
            f"From `{first.layer}` on, all rows of the batch are nearly alike: what they do not have in "
            f"common is {number(first.before)} of the output's rms there (limit {number(limits['spread'])}) "
            f"and {number(last.before)} at `{last.layer}`; it was {number(widest.before)} at "
            f"`{widest.layer}`. After {training.steps} steps it is {number(first.after)} and "
            f"{number(last.after)}; the loss went from {number(training.start)} to {number(training.end)}."
        ),
        remedy=(
            "Let the rows past the layers: add what enters each layer to what leaves it "
            "(`h = h + layer(h)`), or use fewer layers."
        ),
        evidence={
            "spread": first.before,
            "spread_after": first.after,
            "last_spread": last.before,
            "last_spread_after": last.after,
            "reference": widest.before,
            "layers": len(tail),
            "limit": limits["spread"],
        },
        layer=first.layer,
        source=next((each.source for each in measurement.layers if each.name == first.layer), None),
        layers=tuple(each.layer for each in tail),
        explains=None,
    )
