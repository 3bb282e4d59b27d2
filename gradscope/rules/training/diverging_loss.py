"""The loss rises in training, until nothing is finite any more or to the end.

## What it does
Reports a training whose loss grows from step to step: until a step would make a parameter NaN or infinite, or
until it ends far above where it began.

## Why is this bad
Each step makes it worse. From a NaN on every loss is NaN, and nothing that is learned afterwards counts.

## How it is measured
By `gradscope check`, in the short training with the optimizer of the file: the loss of the first batch is
finite before the steps and not finite after them. That is exact, and an error. The batch of the first step
whose loss is not finite is run at the parameters of the start, too: where it has none there, the batch is
told and not the optimizer. By `gradscope monitor`, at each step. Where the training broke down (a parameter
would not be finite, checked on every element, or the loss is not finite to the end) and the loss had grown
before, that is exact, and an error. A loss that rises and stays finite is a warning: the medians of the first
and the last fifth of the run are compared, against the scatter within them.

## Limits
`growth = 10`: the losses before the breakdown rise from one to the next, at least twice, by this factor in
all. `rise = 1`: otherwise the loss has to rise by so many times its size at the start, and by more than three
standard errors; a loss of less than twice its own scatter, as that of a policy gradient, is not judged.
Source: choices.

## Example
    optimizer = optax.sgd(10.0)

Use instead a lower rate, or clip what is too large:

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))

## What it does not say
That a lower rate is the whole cure. A loss whose terms change during the run (annealing, a curriculum, two
players) may rise and be healthy. A breakdown without growth before it is `non-finite-update`.

## Source
Goodfellow et al. 2016, *Deep Learning*, 8.2.4 (cliffs) and 10.11 (clipping).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Ending, History, Number, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import (
    Growth,
    at_step,
    broke_down,
    broken_layers,
    growth,
    names,
    not_taken,
    start_and_end,
    taken,
)
from gradscope.rules.words import count, number

FEWEST = 10
SYMPTOM_OF = (
    "learning-rate-too-high", "ascending-update", "exploding-gradient", "unnormalized-input",
    "unscaled-target", "mismatched-output", "wrong-mode", "mismatched-betas",
    "unexpected-initial-loss",
)  # fmt: skip


@rule(
    "diverging-loss",
    severity=Severity.ERROR,
    symptom_of=SYMPTOM_OF,
    needs=(),
    uses=("history", "training"),
    single_seed_suffices=True,
    growth=10.0,
    rise=1.0,
)
def diverging_loss(history: History | None, training: ShortTraining | None, limits: Limits) -> Iterator[Hit]:
    if history is None:
        yield from () if training is None else _in_a_few_steps(training)
        return
    if broke_down(history):
        grown = growth(history)
        if grown is not None and grown.factor > limits["growth"]:
            yield _broken(history, grown, limits)
        return
    start, end = start_and_end(history)
    rise, size = end.median - start.median, abs(start.median)
    sure = 3 * math.hypot(start.error, end.error)
    if len(history.mean_losses) < FEWEST or size <= 2 * start.scatter:
        return
    if not rise > max(limits["rise"] * size, sure):
        return
    yield Hit(
        message=f"{taken(history)} take the loss up, from {number(start.median)} to {number(end.median)} "
        "(medians of the first and the last fifth).",
        remedy="Try a tenth of the learning rate; if it still rises, look at the sign of the loss and of the "
        "update.",
        evidence={
            "loss_before": start.median,
            "loss_after": end.median,
            "steps": history.recorded_steps,
            "limit": limits["rise"],
        },
        severity=Severity.WARNING,
        layers=names(history),
        explains=None,
    )


def _in_a_few_steps(training: ShortTraining) -> Iterator[Hit]:
    """The first batch had a finite loss, and after the steps it has none: what is broken are the weights."""
    lost = (step for step, loss in enumerate(training.losses) if not math.isfinite(loss))
    ended = next(lost, training.steps)
    if not training.own or math.isfinite(training.end) or not math.isfinite(training.start):
        return
    went = f"from {number(training.start)} to {number(training.end)}"
    evidence: dict[str, Number] = {"step": ended, "loss_before": training.start}
    if training.bad_batch is not None:
        message = (
            f"Batch {training.bad_batch} of the data has a loss that is not finite, at the parameters before "
            f"the first step already, and after the step on it the loss of the first batch goes {went}, too."
        )
        remedy = "Look at that batch for NaN, infinite or extreme values, and leave out or fill those."
        evidence["batch"] = training.bad_batch
    else:
        how = "the first step" if ended < 2 else count(ended, "step")
        message = (
            f"Your optimizer takes the loss of the first batch {went}; the first loss that is not finite "
            f"comes after {how}."
        )
        remedy = "Search for a learning rate with `gradscope find-lr`, and look at the sizes of the data."
    yield Hit(message=message, remedy=remedy, evidence=evidence, layers=training.layers, explains=None)


def _broken(history: History, grown: Growth, limits: Limits) -> Hit:
    step, broken = history.steps - 1, broken_layers(history)
    if history.ending is Ending.NOT_FINITE:
        end = not_taken(history)
    else:
        step = step if history.nonfinite_since is None else history.nonfinite_since
        end = f"from step {step:,} on it is not finite"
    return Hit(
        message=f"The loss grows from {number(grown.first)} at {at_step(history, grown.since)} to "
        f"{number(grown.last)}, from step to step; {end}.",
        remedy="Try a tenth of the learning rate, or clip the gradient (`optax.clip_by_global_norm`).",
        evidence={
            "step": step,
            "loss_before": grown.first,
            "loss_after": grown.last,
            "limit": limits["growth"],
        },
        layer=broken[0] if len(broken) == 1 else None,
        layers=tuple(broken) or names(history),
        explains=None,
    )
