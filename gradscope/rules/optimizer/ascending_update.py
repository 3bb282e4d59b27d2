"""The optimizer moves a parameter up its gradient: the loss rises.

## What it does
Reports the parameters whose update points the way of the gradient instead of against it, and says whether the
update *is* the gradient, bit for bit.

## Why is this bad
Gradient descent subtracts. An update with a positive inner product with the gradient raises the loss, at
first slowly, and then it diverges. Nothing in one backward pass shows it: the gradients are right.

## How it is measured
The optimizer makes its first step from a fresh state, for the gradient of the first batch and once more for a
gradient of zero. What it adds to nothing (weight decay, noise) is taken off; of the rest the cosine with the
gradient is taken, leaf by leaf. And over all steps of the short training the products of update and gradient
have to add up to more than 0: an optimizer may climb in one step and descend in the next (SAM).

## Limits
`cosine = 0.01`: a leaf ascends where its cosine is above it. Descent has a negative one: -1 for SGD and
-0.4 to -0.9 for Adam, whose steps are nearly those of the signs, in the small networks that were looked at.
Source: a choice between 0 and what was measured.

An update that is the gradient itself, bit for bit, is an error, since no learning rate was applied (of a
single number it is a warning: a multiplier may be maximized at a rate of 1). So is one
where all parameters ascend, the loss rises in the short training, and falls once each update is turned
round. Where only a part ascends it is a warning: a multiplier or an adversary is maximized on purpose.

## Example
    optimizer = optax.masked(optax.adam(1e-3), {"body": False, "head": True})   # passes body's gradient on

Use instead, to leave a part as it is:

    labels = {"body": "keep", "head": "train"}
    optimizer = optax.multi_transform({"keep": optax.set_to_zero(), "train": optax.adam(1e-3)}, labels)

## What it does not say
That an optimizer which descends at its first step does so later. A loss that you maximize on purpose with a
loss function that returns a reward looks the same: return its negative.

## Source
Optax documentation, `masked` ("the updates for the masked-out entries are passed through unchanged") and
`multi_transform`; optax issue threads on frozen parameters that diverge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import LeafUpdate, Severity, ShortTraining
from gradscope.records.training import layers_of
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of, number

MASKED = (
    "Turn the gradient into an update everywhere: `optax.masked`, for one, passes on what its mask leaves "
    "out. To keep a part as it is, use "
    '`optax.multi_transform({"train": ..., "keep": optax.set_to_zero()}, labels)`.'
)
SIGN = (
    "End the chain with a negative factor: `optax.scale(-learning_rate)` or "
    "`optax.scale_by_learning_rate(learning_rate)`."
)


@rule("ascending-update", severity=Severity.ERROR, needs=("training",), cosine=0.01)
def ascending_update(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    if not training.own:
        return
    told = [leaf for leaf in training.leaves if leaf.ascent is not None]
    up = [leaf for leaf in told if leaf.ascent is not None and leaf.ascent > limits["cosine"]]
    raw = [leaf for leaf in up if leaf.raw and leaf.size > 1]
    if raw:
        yield _hit(raw, training, limits, _raw_text(raw, training), MASKED, Severity.ERROR)
    elif up and len(up) == len(told):
        grave = Severity.ERROR if _turned_round_it_falls(training) else Severity.WARNING
        yield _hit(up, training, limits, _all_text(training), SIGN, grave)
    elif up:
        text = (
            f"Your optimizer moves {_parameters(up)} up the gradient (largest cosine {_largest(up)}), and "
            f"{count(len(told) - len(up), 'other parameter')} down. If that part is to be maximized, as a "
            "multiplier or an adversary is, this is meant."
        )
        yield _hit(up, training, limits, text, SIGN, Severity.WARNING)


def _raw_text(raw: Sequence[LeafUpdate], training: ShortTraining) -> str:
    return (
        f"Your optimizer adds the gradient itself, bit for bit, to {_parameters(raw)}: each step goes up the "
        f"gradient, at a learning rate of 1.{_course(training)}"
    )


def _all_text(training: ShortTraining) -> str:
    turned = training.trial("factor", -1.0)
    rest = "" if turned is None else f" With each update turned round it ends at {number(turned.end)}."
    return (
        f"Your optimizer moves every parameter up its gradient (largest cosine {_largest(training.leaves)})."
        f"{_course(training)}{rest}"
    )


def _course(training: ShortTraining) -> str:
    return (
        f" In {count(training.steps, 'step')} the loss of the first batch goes from {number(training.start)} "
        f"to {number(training.end)}."
    )


def _turned_round_it_falls(training: ShortTraining) -> bool:
    turned = training.trial("factor", -1.0)
    return not training.end < training.start and turned is not None and turned.end < training.start


def _largest(leaves: Sequence[LeafUpdate]) -> str:
    return number(max(leaf.ascent for leaf in leaves if leaf.ascent is not None))


def _parameters(leaves: Sequence[LeafUpdate]) -> str:
    return f"{count(len(leaves), 'parameter')} ({names_of([leaf.name for leaf in leaves])})"


def _hit(
    leaves: Sequence[LeafUpdate],
    training: ShortTraining,
    limits: Limits,
    message: str,
    remedy: str,
    severity: Severity,
) -> Hit:
    worst = max(leaves, key=lambda leaf: leaf.ascent or 0.0)
    return Hit(
        message=message,
        remedy=remedy,
        evidence={
            "cosine": worst.ascent or 0.0,
            "limit": limits["cosine"],
            "parameters": len(leaves),
            "loss_before": training.start,
            "loss_after": training.end,
        },
        layer=worst.layer,
        parameter=worst.name,
        severity=severity,
        layers=layers_of(leaves),
        explains=None,
    )
