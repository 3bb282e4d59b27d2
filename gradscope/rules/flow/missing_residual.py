"""A deep stack without residual connections, whose loss falls with them and hardly does without.

## What it does
Looks for five outputs and more of one shape, one behind the other, past which nothing goes: all that is
computed of the batch passes through each of them. Where the short training does not halve the loss, it trains
the same steps once more with each of these outputs added to the next one, and says where that is what was
missing.

## Why is this bad
What a layer does not pass on is lost to all that come after it. Attention averages, and without a connection
around it all tokens of a deep transformer become one (rank collapse); gradients have to go back through every
layer. `x = block(x)` in the place of `x = x + block(x)` runs, and learns the frequencies of the targets.

## How it is measured
From the program: the values that are computed of the batch and of parameters, in their order, and of them the
ones that no other goes past. Those that a product with a parameter makes (with its bias) are the stack. Then
tried, five times as many steps as the short training takes, with the same weights, batches and random
numbers: as it is; with the outputs added, as residual connections do; and as it is with ten times each
update, for a rate that is too low needs no other program.

## Limits
`kept = 0.2`: an error where the stack as it is gains less than this share of what it gains with residual
connections, at either rate; `slow = 0.33`: up to there a warning. Gains are measured from the lower of the
two starts; with residual connections the loss has to end at half of what it is without, or less. Measured
after 55 to 100 steps: eight attention blocks of Flax 0.11, six blocks of Equinox that are normalized after
each sum 0.28, and eight layers of ReLUs with He initialization above 1: they need none.

## Example
    for block in blocks:
        x = block(norm(x))

Use instead:

    for block in blocks:
        x = x + block(norm(x))

## What it does not say
Layers that are stacked by `scan` are one step of the program and are not looked into, nor are stacks of
layers of unlike shapes. With fewer than 10 steps in the short training nothing is tried. An error of another
rule speaks for this one: what was tried says little of a program that has another fault.

## Source
He et al. 2016, *Deep Residual Learning for Image Recognition* (CVPR); Dong et al. 2021, *Attention is not all
you need: pure attention loses rank doubly exponentially with depth* (ICML).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining, TriedSkips
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

HALF = 0.5


@rule(
    "missing-residual",
    severity=Severity.ERROR,
    symptom_of=("collapsed-representations",),
    needs=("training",),
    fallback=True,
    kept=0.2,
    slow=0.33,
)
def missing_residual(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    tried = training.skips
    share = None if tried is None else share_of_gain(tried)
    if tried is None or share is None or not share < limits["slow"]:
        return
    yield Hit(
        message=f"Nothing goes past the {tried.values + 1} outputs of this stack: there is no residual "
        f"connection. {tried.steps} steps of {training.optimizer} take the loss from "
        f"{number(tried.start_without)} to {number(tried.end_without)} (with ten times each update to "
        f"{number(tried.end_faster)}); with each output added to the next one, from {number(tried.start)} to "
        f"{number(tried.end)}.",
        remedy="Add what goes into a layer, or into each part of a block, to what comes out of it: "
        "`x = x + block(norm(x))`.",
        evidence={
            "gained_share": share,
            "loss_after": tried.end_without,
            "loss_after_with_residuals": tried.end,
            "limit": limits["kept"],
        },
        layer=tried.layers[0] if tried.layers else None,
        source=tried.source,
        severity=Severity.ERROR if share < limits["kept"] else Severity.WARNING,
        layers=tried.layers,
    )


def share_of_gain(tried: TriedSkips) -> float | None:
    """What the stack as it is gains, of what it gains with residual connections; `None` where that is not
    clearly more."""
    base = min(tried.start, tried.start_without)
    ends = [end for end in (tried.end_without, tried.end_faster) if math.isfinite(end)]
    if not ends or not math.isfinite(tried.end) or not 0 <= tried.end <= HALF * min(ends):
        return None
    gain = base - tried.end
    return max(base - min(ends), 0.0) / gain if gain > 0 else None
