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

Rows that differ in length alone are alike as well: what averages over neighbours, with both degrees under a
root, leaves of each node is one vector times the root of its degree. The same spread is taken of rows that
are brought to one length, and told where it was tried that the layers are to blame: a length may be all that
a row has to say.

## Limits
- `spread = 0.03`: at the last layer and the ones before it, two at least, before and after the steps. Source:
  measured. In a hidden layer of the healthy sample models, and of networks of 4 to 50 layers of ReLU, GELU or
  tanh without normalization, it was 0.2 or more; behind twelve averages over
  neighbours it was 0.006. Four sigmoids, which do train, came to 0.01, and had 0.04 to 0.11 after 20 steps.
- `reference = 0.2`: some layer before them has to have so much: rows that are alike in the batch say nothing
  of the network.

- `kept = 0.2`: it is an error where it was tried that this is why the network does not learn. Five times as
  many steps then gain less than this share of what they gain with each output added to the next one, as
  `missing-residual` tries it, and weights of another scale, where they were tried, do not help. Else it is a
  warning.

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
2020, *Graph Neural Networks Exponentially Lose Expressive Power*, arXiv:1905.10947 (up to the roots of the
degrees); Chen et al. 2020, *Measuring and Relieving the Over-smoothing Problem for Graph Neural Networks from
the Topological View*, arXiv:1909.03211 (by angles); Schoenholz et al. 2017, *Deep Information Propagation*,
arXiv:1611.01232 (inputs whose correlation goes to 1 with depth).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

from gradscope.records import Measurement, RowSpread, Severity, ShortTraining, TriedSkips
from gradscope.rules.activations.another_start import helps
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.flow.missing_residual import share_of_gain
from gradscope.rules.words import number

FEWEST_LAYERS = 2
SYMPTOM_OF = (
    "vanishing-gradient", "zero-gradient", "blocked-gradient", "unnormalized-input", "wrong-mode",
    "mismatched-output", "symmetric-units", "copied-initialization", "learning-rate-too-high",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Spread:
    """Of the rows in the output of a layer, or of their directions."""

    layer: str
    before: float
    after: float


@rule(
    "collapsed-representations",
    severity=Severity.ERROR,
    symptom_of=SYMPTOM_OF,
    needs=("flow", "training"),
    spread=0.03,
    reference=0.2,
    kept=0.2,
)
def collapsed_representations(
    measurement: Measurement, training: ShortTraining, limits: Limits
) -> Iterator[Hit]:
    cured = _cured(training, limits)
    for turned in (False, True) if cured else (False,):
        hit = _collapse(measurement, training, limits, turned=turned)
        if hit is not None:
            yield hit if cured is None else _tried(hit, training.optimizer, cured)
            return


def _cured(training: ShortTraining, limits: Limits) -> TriedSkips | None:
    """What shows that the layers are to blame: the steps go well with the rows let past them, and another
    scale of the weights, where one was tried, does not help."""
    tried, start = training.skips, training.rescaled
    share = None if tried is None else share_of_gain(tried)
    if share is None or share >= limits["kept"] or (start is not None and helps(start)):
        return None
    return tried


def _collapse(
    measurement: Measurement, training: ShortTraining, limits: Limits, *, turned: bool
) -> Hit | None:
    """`turned`: the rows point in one direction, and need not be of one length."""
    seen = [_Spread(each.layer, *_pair(each, turned=turned)) for each in training.spreads]

    def alike(each: _Spread) -> bool:
        return max(each.before, each.after) <= limits["spread"]

    tail = list(takewhile(alike, reversed(seen)))[::-1]
    before = seen[: len(seen) - len(tail)]
    widest = max(before, key=lambda each: each.before, default=None)
    if len(tail) < FEWEST_LAYERS or widest is None or widest.before < limits["reference"]:
        return None
    first, last = tail[0], tail[-1]
    return Hit(
        message=(
            f"From `{first.layer}` on, all rows of the batch "
            f"{'nearly point in one direction: brought to one length,' if turned else 'are nearly alike:'} "
            f"what they do not have in common is {number(first.before)} of the output's rms there (limit "
            f"{number(limits['spread'])}) and {number(last.before)} at `{last.layer}`; it was "
            f"{number(widest.before)} at `{widest.layer}`. After {training.steps} steps it is "
            f"{number(first.after)} and {number(last.after)}; the loss went from {number(training.start)} to "
            f"{number(training.end)}."
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
        severity=Severity.WARNING,
        layers=tuple(each.layer for each in tail),
        explains=None,
    )


def _pair(each: RowSpread, *, turned: bool) -> tuple[float, float]:
    return (each.direction_before, each.direction_after) if turned else (each.before, each.after)


def _tried(hit: Hit, optimizer: str, cured: TriedSkips) -> Hit:
    more = (
        f"{cured.steps} steps of {optimizer} end at a loss of {number(cured.end_without)}, and "
        f"at {number(cured.end)} with each of {cured.values + 1} outputs added to the next one."
    )
    evidence = {**hit.evidence, "loss_after": cured.end_without, "loss_after_with_residuals": cured.end}
    message = f"{hit.message} {more}"
    return replace(hit, message=message, evidence=evidence, severity=Severity.ERROR, proved=True)
