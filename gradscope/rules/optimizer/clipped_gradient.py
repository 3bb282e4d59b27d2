"""The gradient is clipped to a small part of itself at every step: only its direction is left.

## What it does
Reports an optimizer that lets through less than a hundredth of the gradient, at the first and at the last
step of the short training, and at nearly all steps of `gradscope monitor`.

## Why is this bad
Clipping is there for the rare step whose gradient is out of the ordinary. Where it acts on all of them, every
step has the same length, however near the minimum is. Before plain SGD it also divides the learning rate: a
threshold 1,000 times below the usual norm makes each step 1,000 times smaller.

## How it is measured
The optimizer is asked, from a fresh state, for the step of the gradient, of its double and of smaller parts
of it, all by powers of two. Where it clips, it answers the same to the last bit, in the step and in what it
keeps in its state, down to the part that it lets through whole. That also tells by how much the gradient is
too large, and whether the step is smaller by as much. Where the loss hardly falls, the short training is run
again with every update times 10, 100 and so on: where the step is in proportion to the clipped gradient, that
is the same training with a higher threshold. In a longer training the norms of the gradients are held against
the norm that was let through of the first one.

## Limits
`factor = 100`: the gradient is so many times what is let through of it. Transformers are commonly clipped at
1 with norms from 0.1 to 10, and often on most steps (a factor of 10). `share = 0.5`: of the elements that a
step moves, where elements are clipped one by one. `steps = 0.9`: of the steps of a longer training. Sources:
choices. It is a note, and a warning where larger updates were tried and `learning-rate-too-low` would warn of
what they bring (its limits: `fall = 0.02`, `gain = 5`, `share = 0.2`).

## Example
    optimizer = optax.chain(optax.clip_by_global_norm(1e-4), optax.sgd(0.3))

Use instead a threshold that only rare gradients exceed:

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.3))

## What it does not say
That it does harm: Adam makes up for the size of what it is given, so that a threshold before it changes
little but how steps are weighed against each other, and published models clip so. Signs, LARS and other
optimizers that normalize at any size are not looked at here, nor is what is clipped behind Adam, or to a norm
below 1e-5 (the floor of what divides by a norm looks the same).

## Source
Pascanu et al. 2013, *On the difficulty of training recurrent neural networks*, arXiv:1211.5063 (the threshold
from the average norm over many updates); Zhang et al. 2020, *Why gradient clipping accelerates training*,
arXiv:1905.11881.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from gradscope.records import ClippedStep, History, Intervention, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import BROKEN, broke_down
from gradscope.rules.training.learning_rate_too_low import parted, raised
from gradscope.rules.words import number


@rule(
    "clipped-gradient",
    severity=Severity.WARNING,
    symptom_of=(*BROKEN, "exploding-gradient", "exploding-through-time", "ascending-update", "not-updated"),
    needs=("training",),
    uses=("history",),
    factor=100.0,
    share=0.5,
    steps=0.9,
    fall=0.02,
    gain=5.0,
)
def clipped_gradient(training: ShortTraining, history: History | None, limits: Limits) -> Iterator[Hit]:
    clipped = training.clipped
    if not clipped or any(each.factor < limits["factor"] or each.share < limits["share"] for each in clipped):
        return
    first, factor = clipped[0], min(each.factor for each in clipped)
    acting = None if history is None else _over_steps(first, history, limits)
    if history is not None and (acting is None or acting[0] < limits["steps"]):
        return
    best = raised(training, limits) if all(each.proportional for each in clipped) else None
    best = best if best is not None and best.factor <= factor else None
    yield Hit(
        message=f"{_how_much(training, clipped)}{_seen(history, acting)}{_tried(training, best)}",
        remedy=_remedy(first, best),
        evidence={
            "factor": factor,
            "share": min(each.share for each in clipped),
            "gradient_norm": first.norm,
            **({"kept_norm": first.kept_norm} if first.kept_norm is not None else {}),
            **({"share_of_steps": acting[0]} if acting else {}),
            **({"factor_tried": best.factor, "loss_after_at_factor": best.end} if best else {}),
            "limit": limits["factor"],
        },
        severity=Severity.NOTE if best is None or parted(training) is None else Severity.WARNING,
        layers=training.layers,
        explains=() if best is None else None,
    )


def _over_steps(first: ClippedStep, history: History, limits: Limits) -> tuple[float, float] | None:
    """The share of the spans in which all gradients are so many times what is let through, and the median of
    that factor; `None` where the norm alone does not say it."""
    norms = history.gradient_norms.low
    if first.kept_norm is None or not norms or broke_down(history):
        return None
    far = [norm >= limits["factor"] * first.kept_norm for norm in norms]
    return sum(far) / len(far), statistics.median(norms) / first.kept_norm


def _how_much(training: ShortTraining, clipped: Sequence[ClippedStep]) -> str:
    first, last = clipped[0], clipped[-1]
    times = f"{number(first.factor)} times what your optimizer lets through of it"
    then = f", and {number(last.factor)} times at step {last.step + 1}" if last.step > first.step else ""
    if first.kept_norm is not None:
        return (
            f"At the first step the norm of the gradient is {number(first.norm)}, {times} "
            f"({number(first.kept_norm)}){then}: only its direction is left."
        )
    whole = all(each.share == 1 for each in clipped)
    where = "" if whole else f" at {first.share:.0%} of the elements"
    return f"At the first step the gradient is {times}{where}{then}: its size is lost there."


def _seen(history: History | None, acting: tuple[float, float] | None) -> str:
    if history is None or acting is None:
        return ""
    measured = "measured steps" if history.every == 1 else f"steps, one in {history.every} of them measured"
    return (
        f" So it is at {acting[0]:.0%} of {history.recorded_steps:,} {measured}; the median is "
        f"{number(acting[1])} times."
    )


def _tried(training: ShortTraining, best: Intervention | None) -> str:
    own = training.trial("none", steps=training.steps)
    if best is None or own is None:
        return (
            " Each step is smaller by as much." if all(each.proportional for each in training.clipped) else ""
        )
    return (
        f" Each step is smaller by as much: {training.steps} of them take the loss from {number(own.start)} "
        f"to {number(own.end)}, and to {number(best.end)} with {best.factor:g} times each update."
    )


def _remedy(first: ClippedStep, best: Intervention | None) -> str:
    if best is not None and first.kept_norm is not None:
        return (
            f"Raise the threshold: at {number(float(f'{first.kept_norm * best.factor:.2g}'))} each step is "
            f"{best.factor:g} times as large, which was tried."
        )
    if best is not None:
        return "Raise the threshold of the clipping to where only rare gradients exceed it."
    usual = number(float(f"{first.norm:.2g}"))
    raised_to = f"raise the threshold to where only rare gradients exceed it: the norm here is {usual}."
    then = " Steps grow with it, so begin with a lower learning rate." if first.proportional else ""
    return f"Nothing is to be done where the direction alone is meant. Else {raised_to}{then}"
