"""The optimizer leaves parameters as they are although they have a gradient.

## What it does
Reports an optimizer whose updates are zero, or next to nothing: a schedule that has come to its end, a
learning rate of 0, labels that freeze everything. Where only a part is held, that is a note; where it is all
matrices of what looks like a new network, and training them helps, a warning.

## Why is this bad
Nothing is learned. A state that was restored with its step counter is the usual cause: the schedule of the
new run begins where that of the old one ended.

## How it is measured
By the real steps of the short training, from the optimizer state that the file brings along (`opt_state`, a
`TrainState`, an `nnx.Optimizer`) or from a fresh one. Where no step moves anything the optimizer goes on
alone, with the last gradient, for up to 1,000 steps: a warm-up or gradient accumulation moves something by
then, and nothing is said. A large model is not given so many steps: then it is a note.

A network looks new where everything that moves is a vector and all vectors begin as constants: the biases and
scales of a trained one are not constant. Then Adam trains the vectors alone, and everything, from the same
weights on the same batches, five times as many steps as the short training has.

## Limits
`share = 1e-4`: with a restored state, the largest update over that of a first step from a fresh state; less
is reported. A schedule that decays to a hundredth or a thousandth of its peak is above it. Source: a choice.
Held matrices, two at least, are told where training everything is clearly better: it gains twice as much, or
it ends at half of the loss or less.

## Example
    state = restored                    # its step counter says 1000
    tx = optax.adam(optax.linear_schedule(1e-2, 0.0, 400))

Use instead a schedule that begins where the counter stands, or a fresh state:

    tx = optax.adam(optax.linear_schedule(1e-2, 0.0, 400, transition_begin=1000))

## What it does not say
Whether a part that is held was meant to be. Parameters without a gradient are the business of
`zero-gradient`, `blocked-gradient` and `disconnected-parameter`.

## Source
Optax documentation, schedules and `multi_transform`; Flax issue threads on learning rates after a restore.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import HeldMatrices, LeafUpdate, Severity, ShortTraining
from gradscope.records.training import LATER_STEPS, layers_of
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of, number

ENDED = (
    "Restart the schedule with a fresh optimizer state, or let it begin at the step that the state has "
    "counted to."
)
ZERO = (
    "Look at the learning rate, its schedule and the labels of the optimizer: no parameter is to be trained."
)
HELD = "Nothing is to be done where they are frozen on purpose; else correct the labels or the mask."


@rule("not-updated", severity=Severity.ERROR, needs=("training",), share=1e-4)
def not_updated(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    with_gradient = [leaf for leaf in training.leaves if leaf.gradient]
    if not training.own or not with_gradient:
        return
    held = [leaf for leaf in with_gradient if not leaf.moved]
    evidence = {
        "update_max": training.update_max,
        "fresh_update_max": training.fresh_update_max,
        "limit": limits["share"],
        "steps": training.steps,
    }
    everything = layers_of(with_gradient)
    if training.restored and training.update_max < limits["share"] * training.fresh_update_max:
        yield Hit(
            message=f"From the state that the file brings along, your optimizer moves no parameter by more "
            f"than {number(training.update_max)} in {count(training.steps, 'step')}; from a fresh state its "
            f"first step moves one by {number(training.fresh_update_max)}. Its schedule may have come to its "
            "end.",
            remedy=ENDED,
            evidence=evidence,
            layers=everything,
            explains=None,
        )
    elif len(held) == len(with_gradient) and training.moves_at is None:
        tried = training.steps + training.still_steps
        sure = training.still_steps >= LATER_STEPS
        maybe = "" if sure else " Gradient accumulation or a long warm-up may explain it: no more were tried."
        yield Hit(
            message=f"Your optimizer moves no parameter in {count(tried, 'step')}, although "
            f"{count(len(with_gradient), 'parameter')} of {len(training.leaves)} have a gradient.{maybe}",
            remedy=ZERO,
            evidence={**evidence, "steps": tried},
            severity=Severity.ERROR if sure else Severity.NOTE,
            layers=everything,
            explains=None,
        )
    elif training.held_matrices is not None and training.held_matrices.tried.better:
        yield _vectors_alone(training, training.held_matrices, held)
    elif held and len(held) < len(with_gradient):
        yield Hit(
            message=f"Your optimizer holds {count(len(held), 'parameter')} that "
            f"{'has' if len(held) == 1 else 'have'} a gradient: {names_of([leaf.name for leaf in held])} did "
            f"not move in {count(training.steps, 'step')}, and "
            f"{count(len(with_gradient) - len(held), 'other')} did.",
            remedy=HELD,
            evidence={**evidence, "held": len(held)},
            layer=held[0].layer,
            parameter=held[0].name,
            severity=Severity.NOTE,
            layers=layers_of(held),
        )


def _vectors_alone(training: ShortTraining, found: HeldMatrices, held: Sequence[LeafUpdate]) -> Hit:
    tried = found.tried
    return Hit(
        message=f"Your optimizer moves {len(found.vectors)} vectors ({names_of(found.vectors)}) and "
        f"none of the {len(found.matrices)} matrices that have a gradient ({names_of(found.matrices)}), in "
        f"{count(training.steps, 'step')}. The vectors begin as constants, as those of a new network do, so "
        f"the matrices may be as they were drawn. {tried.steps} steps of Adam with a rate of "
        f"{number(found.rate)} take the loss from {number(tried.start)} to {number(tried.end)} where they "
        f"move everything, and to {number(tried.end_without)} where they move the vectors alone.",
        remedy="Correct the labels of the optimizer, or its mask, if the network is to be trained; to train "
        "biases alone is for one that was trained before.",
        evidence={
            "matrices": len(found.matrices),
            "vectors": len(found.vectors),
            "loss_after": tried.end_without,
            "loss_after_all": tried.end,
            "steps": tried.steps,
        },
        layer=held[0].layer,
        severity=Severity.WARNING,
        layers=layers_of(held),
        explains=layers_of(held),
    )
