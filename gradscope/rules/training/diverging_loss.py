"""The loss rises in training, until nothing is finite any more or to the end.

## What it does
Reports a training whose loss grows from step to step: until a step would make a parameter NaN or infinite, or
until it ends far above where it began.

## Why is this bad
Each step makes it worse. From a NaN on every loss is NaN, and nothing that is learned afterwards counts.

## How it is measured
By `gradscope check`, in the short training with the optimizer of the file: a loss that is finite at first,
and is not after some step, is exact, and an error. By `gradscope monitor`, at each step. Where the training
broke down (a parameter would not be finite, checked on every element, or the loss is not finite to the end)
and the loss had grown before, that is exact, and an error. A loss that rises and stays finite is a warning:
the medians of the first and the last fifth of the run are compared, against the scatter within them.

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

from gradscope.records import Ending, History, Severity, ShortTraining
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
    "unscaled-target", "non-finite", "mismatched-output", "wrong-mode", "mismatched-betas",
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
    losses = [*training.losses, training.end]
    ended = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if not training.own or not ended:
        return
    before, last = number(losses[0]), number(losses[ended - 1])
    yield Hit(
        message=f"Your optimizer takes the loss from {before} to {last} in {count(ended - 1, 'step')}, and "
        "after the next one it is not finite.",
        remedy="Search for a learning rate with `gradscope find-lr`, and look at the sizes of inputs and "
        "targets.",
        evidence={"step": ended, "loss_before": losses[0], "loss_after": losses[ended - 1]},
        layers=training.layers,
        explains=None,
    )


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
