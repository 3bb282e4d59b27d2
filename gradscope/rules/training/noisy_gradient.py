"""The gradients of different batches have next to nothing in common: a step is mostly noise.

## What it does
Where the loss hardly falls in the short training, compares the gradients of its batches at the start, and
reports that two of them are nearly orthogonal, with the size of batch at which signal and noise would be
equal.

## Why is this bad
Steps that point anywhere cancel each other. What is left of them after many steps is the small part that all
batches share, and the learning rate has to be small for it to win.

## How it is measured
From the gradients of up to eight batches: the square of the norm of their mean, and the mean of the squares
of their norms, which give the expected inner product of the gradients of two batches without bias. Over the
expected square it is the cosine between two batches, whatever the scale of the loss.

## Limits
- `signal = 0.1`: of the square of a gradient's norm, the share that batches have in common. Below it a
  batch nine times as large would still be noise for the greater part (McCandlish et al. 2018 call the ratio
  the gradient noise scale). Four batches are needed.
- `fall = 0.02`: of the mean loss of the batches; where the steps lower it by more, noise did not hinder them.

## Example
    batches = ((x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4))

Use instead larger batches, or gradients that are averaged over several of them:

    optimizer = optax.MultiSteps(optax.adam(1e-3), every_k_schedule=16)

## What it does not say
That more signal would help: labels that have nothing to do with the inputs give no signal at any size. Close
to a minimum gradients are noise for the greater part in every training.

## Source
McCandlish et al. 2018, *An Empirical Model of Large-Batch Training*, arXiv:1812.06162.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import GradientNoise, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.training import learning_rate_too_low
from gradscope.rules.words import number

SYMPTOM_OF = (
    *learning_rate_too_low.SYMPTOM_OF, "learning-rate-too-high", "learning-rate-too-low", "sorted-batches",
)  # fmt: skip


@rule(
    "noisy-gradient",
    severity=Severity.WARNING,
    symptom_of=SYMPTOM_OF,
    needs=("training",),
    signal=0.1,
    fall=0.02,
)
def noisy_gradient(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    noise, own = training.noise, training.trial("none", steps=training.steps)
    if noise is None or own is None or noise.signal >= limits["signal"]:
        return
    if own.fall > limits["fall"] * own.size:
        return
    yield Hit(
        message=f"The gradients of {noise.batches} batches hardly agree: the cosine between two of them is "
        f"{number(max(noise.signal, 0.0))} (limit {number(limits['signal'])}), and {training.steps} steps "
        f"take their mean loss from {number(own.start)} to {number(own.end)}. {_size(noise)}",
        remedy="Average over larger batches (or `optax.MultiSteps`) and compare; look at one batch by itself "
        "first, whether labels belong to their inputs.",
        evidence={"signal": noise.signal, "batches": noise.batches, "limit": limits["signal"]},
        layers=training.layers,
        explains=None,
    )


def _size(noise: GradientNoise) -> str:
    """The batch at which signal and noise are equal: noise falls with its size."""
    if noise.times is None:
        return "No common part could be measured."
    of = "" if noise.scale is None else f", about {number(noise.scale)} rows"
    return f"Signal and noise would be equal in a batch {number(noise.times)} times as large{of}."
