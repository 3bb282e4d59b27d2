"""A state that the training step is given does not go on to the next step: moments, running averages.

## What it does
Reports the state of an optimizer, or of a model (`batch_stats`), that `train_step` of the file takes and does
not change, does not give back, or does not read.

## Why is this bad
An optimizer whose state does not go on makes its first step again and again: Adam moves each weight by the
sign of its gradient, momentum never builds up, a schedule stays at its beginning. Running averages that are
never written stay at 0 and 1, and the model is evaluated with them: it learns, and predicts badly.

## How it is measured
It is read from the program of the step: the variables in which the state comes, whether they are among its
results unchanged, and whether anything else that it gives back depends on them. A state of the model that is
read and not changed is frozen on purpose, as running averages are in fine-tuning: nothing is said.

## Limits
None: yes or no.

## Example
    def train_step(params, opt_state, batch):
        grads = jax.grad(loss_fn)(params, batch)
        updates, _ = optimizer.update(grads, opt_state, params)     # the new state is thrown away
        return optax.apply_updates(params, updates), opt_state

Use instead:

        updates, opt_state = optimizer.update(grads, opt_state, params)

## What it does not say
Whether the loop gives the new state to the next step: that is outside of the function.

## Source
Optax documentation, "Getting started"; Flax documentation, "Batch normalization"; Flax discussions on running
averages that were not updated.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import LostState, OwnTrainStep, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule

KEPT = (
    "Give back the state that `update` returns: `updates, {name} = optimizer.update(grads, {name}, params)`."
)
ONCE = "Make the state once, before the loop, and give it to each step: `{name} = optimizer.init(params)`."
AVERAGES = (
    'Give back the state that the model returns: `apply(..., mutable=["batch_stats"])` in Flax Linen, and '
    '`state.replace(batch_stats=updates["batch_stats"])`; in Equinox and Haiku the second result.'
)


@rule("lost-state", severity=Severity.WARNING, needs=("training",), single_seed_suffices=True)
def lost_state(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    step = training.own_step
    for state in () if step is None else step.lost:
        assert step is not None
        yield Hit(
            message=_text(step, state),
            remedy=_remedy(state).format(name=state.name),
            evidence={"returned": state.returned, "read": state.read},
            source=step.source,
            severity=Severity.WARNING,
        )


def _text(step: OwnTrainStep, state: LostState) -> str:
    back = "gives it back as it came" if state.returned else "does not give it back"
    if not state.optimizer:
        return (
            f"`{step.name}` neither reads nor changes `{state.name}`, and {back}: the running averages in it "
            "stay as they were before the training, and an evaluation that uses them gets those."
        )
    if state.read:
        return (
            f"`{step.name}` reads `{state.name}` and {back}: each step begins from the same state, so that "
            "moments and counters of steps do not go on."
        )
    return (
        f"Nothing else that `{step.name}` gives back depends on the `{state.name}` that it is given: moments "
        "and counters of earlier steps are lost."
    )


def _remedy(state: LostState) -> str:
    if not state.optimizer:
        return AVERAGES
    return KEPT if state.read else ONCE
