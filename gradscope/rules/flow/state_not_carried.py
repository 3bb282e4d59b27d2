"""A recurrent cell begins every step with zeros: nothing comes from one step to the next.

## What it does
Reports recurrent weights in a loop over time that are multiplied with a state of exactly 0 at every step.

## Why is this bad
The loop runs, and the loss may fall, but a step knows nothing of those before it: the output is made of one
step alone. The recurrent weights never get a gradient.

## How it is measured
From the program (its jaxpr), where zeros are followed through all operations and around every loop. Told in
three cases: in a loop (`jax.lax.scan`) the cell gets zeros, and no step reads what the one before has handed
on; or no step hands anything on that comes from the cell, and the loop goes over another axis than that of
the examples (`return state, cell(x, state)`); or a loop in Python calls the cell with constant zeros each
time, and the loss depends on one of the calls alone.

## Limits
None: the state is 0 at every step or it is not.

## Example
    def step(state, x):
        return cell(x, start), None                 # `start` are zeros, and `state` is not used

Use instead:

    def step(state, x):
        return cell(x, state), None

## What it does not say
A state that is not 0, as one that is learned, and is not carried either. A cell that is called once, or for
each of several inputs with zeros each time where the loss reads all of them (encoders of one step), is
told by `zero-gradient`. Nor is a loop that ends when the data say so (`while_loop`).

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems* (wrong network architecture); the
question on Stack Overflow why an LSTM does not learn when its hidden state is made anew in each call.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Idleness, IdleRecurrence, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import names_of


@rule("state-not-carried", severity=Severity.ERROR, single_seed_suffices=True)
def state_not_carried(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    for found in measurement.idle_recurrences:
        if found.kind is Idleness.ONCE:
            continue
        silent = all(
            leaf.gradient_max == 0 for leaf in measurement.parameters if leaf.name in found.parameters
        )
        lost = " These weights get no gradient." if silent and not found.part else ""
        yield Hit(
            message=f"The state is not carried from step to step: {_how(found)}{lost}",
            remedy="Give the cell the state that the step gets, and hand on the one that the cell returns: "
            "`def step(state, x): return cell(x, state), None`.",
            evidence={"steps": found.steps, "parameters": len(found.parameters), "kind": found.kind.value},
            layer=found.layers[0] if found.layers else None,
            source=found.source,
            layers=found.layers,
            explains=tuple(dict.fromkeys([*found.layers, *_beside(measurement, found)])),
        )


def _beside(measurement: Measurement, found: IdleRecurrence) -> list[str]:
    """Other layers of the same cells: a gate that multiplies a state of 0 gets no gradient either."""
    cells = {name.rpartition(".")[0] for name in found.layers}
    return [layer.name for layer in measurement.layers if layer.name.rpartition(".")[0] in cells - {""}]


def _how(found: IdleRecurrence) -> str:
    what = names_of(found.parameters)
    one = len(found.parameters) == 1
    state = f"what {what} {'multiplies' if one else 'multiply'}"
    if found.part:
        state = f"the state beside the input, which {what} {'multiplies' if one else 'multiply'},"
    if found.kind is Idleness.APART:
        return (
            f"{state} is 0 at each of the {found.steps:,} steps of this loop, and nothing that a step makes "
            "with it is handed on."
        )
    if found.kind is Idleness.OVERWRITTEN:
        return (
            f"{state} is a constant 0 at each of the {found.steps:,} steps of this loop, and no step reads "
            "what the one before has handed on."
        )
    return (
        f"{state} is a constant 0 in each of {found.steps:,} calls, and the loss depends on one of them "
        "alone."
    )
