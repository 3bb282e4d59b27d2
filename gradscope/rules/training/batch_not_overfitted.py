"""Trained on one and the same batch at every step, the loss of that batch does not fall.

## What it does
Reports that the user's optimizer, on the first batch at every step, leaves the loss of that batch where it
was. With `--overfit-batch` it is a warning. By itself `gradscope check` looks where the short training does
not lower the loss over several batches, and then it is a note.

## Why is this bad
A network that can learn fits one batch almost exactly if it sees nothing else: there is nothing to
generalize, and no noise between batches. Where it cannot, more data, more steps and regularization are no
help; the fault lies in the way from the parameters to the loss, or in the optimizer.

## How it is measured
With `--overfit-batch`, ten times as many steps as the short training has (200 for a model that is not large);
otherwise five times as many. The first batch is used at each, with new random numbers where the loss draws
some. The loss before the first and after the last step is that of the same random numbers.

## Limits
`fall = 0.05`: a loss passes that falls by more than this share of itself. Source: choice; that of
`loss-not-decreasing`.

## Example
    def loss_fn(params, batch):
        predicted = model.apply(params, batch["x"])
        return jnp.mean((batch["y"] - predicted.mean(axis=0)) ** 2)

Use instead a loss that every output takes part in, and look whether one batch is learned:

    gradscope check model.py --overfit-batch

## What it does not say
Why. A loss below 0 has no scale of its own, and is told only where it was asked for. A loss that is at its
floor already, as after a training, cannot fall; nor can that of a network far smaller than the batch, or of
a policy, whose value does not tell what was learned. Where a layer drops most of its units, or a schedule
warms up for longer, the loss may need more steps.

## Source
Karpathy 2019, *A Recipe for Training Neural Networks*: overfit one batch.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.training.noisy_gradient import SYMPTOM_OF
from gradscope.rules.words import number


@rule(
    "batch-not-overfitted",
    severity=Severity.WARNING,
    symptom_of=(*SYMPTOM_OF, "noisy-gradient"),
    needs=("training",),
    fallback=True,
    fall=0.05,
)
def batch_not_overfitted(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    alone = training.one_batch
    if alone is None or not training.own or alone.fall > limits["fall"] * abs(alone.start):
        return
    if not alone.asked and (training.warming_up or min(alone.start, alone.end) <= 0):
        return
    yield Hit(
        message=f"Trained on one and the same batch (the first) for {alone.steps} steps, your optimizer "
        f"leaves the loss of that batch where it was: from {number(alone.start)} to {number(alone.end)}. A "
        "network that can learn usually fits a single batch almost exactly.",
        remedy="Before more data, more steps or regularization, look at this one batch: whether each output "
        "is compared with its own target, whether the loss can become lower at all, and whether the learning "
        "rate fits (`gradscope find-lr`).",
        evidence={
            "loss_before": alone.start,
            "loss_after": alone.end,
            "steps": alone.steps,
            "limit": limits["fall"],
        },
        severity=None if alone.asked else Severity.NOTE,
        layers=training.layers,
        explains=None,
    )
