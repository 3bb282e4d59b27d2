"""δ of a recurrent state vanishes within the sequence, so early steps get no credit for the loss.

## What it does
Follows δ = ∂L/∂h of the state h of a loop (an RNN through `lax.scan`) from the last step back to the first
and reports the step at which it has fallen below a thousandth of its value at the end and stays there.
The number of steps in between is the *credit horizon*: earlier steps hardly affect the update.

## Why is this bad
The gradient hardly contains what happened before the horizon, so the network does not learn to remember it.
It learns to use the last few steps and looks as if it had converged.

## How it is measured
By the norm of δ of the carried state at every step of the loop, in one backward pass. The reference is the
largest δ of the last eighth of the steps. Steps after the last one that the loss depends on are left out;
so are the steps before an exact zero that follows large values (truncated backpropagation, an unused
state). It is an error where the horizon is under half of the sequence, else a warning; and no more than
a warning where a gate decides what is kept of the state (LSTM, GRU), because gates open in training. Where no
parameter of the loop mixes units (each multiplies or adds to the state element by element) it is a note: a
leak, a damping or a solver that converges is meant to forget.

## Limits
- `ratio = 1e-3`: δ at the horizon over δ at the end, the same factor as over depth (β1 of AUTOTRAINER, Zhang
  et al. 2021). One or two jumps are not a decay, as there.
- `learned = 0.5`: a warning only where the short training with the file's own optimizer takes away more than
  this share of the loss: the task may need no longer memory. With a gate it is a note then: every gate of a
  usual start forgets, and this one learns.
- `steps = 8`: in a shorter loop the fall would need a factor below 0.37 a step, and such loops are mostly
  iterations, not sequences.

## Example
    def step(h, x):                                  # 80 steps, loss on the last h
        return jnp.tanh(h @ w + x @ u), None         # w = 0.05 * normal(...)

Use instead a gated cell whose forget gate starts open, here for a memory of 80 steps:

    f = jax.nn.sigmoid(x @ uf + h @ wf + 2.5)        # sigmoid(2.5) ** 80 = 0.002
    c = f * c + (1 - f) * candidate

## What it does not say
An LSTM or GRU at initialization *does* vanish over 100 steps when the loss is at the end only: with a
forget bias of 0 the gate is 0.5 and 0.5 ** 100 = 1e-30 is left, with a bias of 1 it is 0.73 ** 100 = 2e-14.
That is measured, and a warning; a note where the loss falls all the same. Gates can open in training, so
such a network may learn in spite of it: check again after some steps of training (`--after-steps 200`, or
`--params CHECKPOINT`).
With a loss at every step the profile is level and nothing is reported: how far each single loss reaches
back is not visible then. A task that needs no memory is fine with a short horizon: ignore the rule.

## Source
Hochreiter 1991; Bengio et al. 1994, *Learning long-term dependencies with gradient descent is difficult*;
Pascanu et al. 2013, arXiv:1211.5063. Forget bias: Jozefowicz et al. 2015 (ICML); Tallec and Ollivier 2018,
*Can recurrent neural networks warp time?*, arXiv:1804.11188.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import takewhile

from gradscope.records import Measurement, Recurrence, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.profile import (
    PRODUCTS,
    TOLERANCE,
    Steps,
    factor,
    steady_fall,
    time_profile,
    worst_of_each_loop,
)
from gradscope.rules.words import names_of, number

OF_ELEMENTS = (
    "Nothing to do where the state is meant to forget: a leak, a damping, a solver that converges. If it "
    "should remember for longer, make its decay slower."
)


@rule(
    "vanishing-through-time",
    severity=Severity.ERROR,
    symptom_of=("non-finite",),
    measure="total",
    uses=("training",),
    ratio=1e-3,
    steps=8,
    learned=0.5,
)
def vanishing_through_time(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    learns = training is not None and training.own and training.fall > limits["learned"] * abs(training.start)
    fall = -math.log(limits["ratio"])
    found: list[tuple[Recurrence, float, Hit]] = []
    for recurrence in measurement.recurrences:
        steps = time_profile(recurrence)
        if steps is None or steps.end + 1 < limits["steps"]:
            continue
        reference = max(steps.levels[-max(1, len(steps.levels) // 8) :])
        if steady_fall([*steps.levels[:-1], reference], fall) is not None:
            elementwise = _is_elementwise(measurement, recurrence)
            hit = _hit(recurrence, steps, reference, limits["ratio"], elementwise, learns)
            found.append((recurrence, float(hit.evidence["total"]), hit))
    yield from worst_of_each_loop(found)


def _is_elementwise(measurement: Measurement, recurrence: Recurrence) -> bool:
    """No parameter of the loop mixes units: a state that leaks or converges, as a physical one does."""
    ops = [layer.op for layer in measurement.layers if layer.name in recurrence.layers]
    return bool(ops) and not any(op in PRODUCTS for op in ops)


def _severity(recurrence: Recurrence, forgotten: bool, elementwise: bool, learns: bool) -> Severity:
    if elementwise or (recurrence.gated and learns):
        return Severity.NOTE
    return Severity.ERROR if forgotten and not (recurrence.gated or learns) else Severity.WARNING


def _hit(
    recurrence: Recurrence, steps: Steps, reference: float, limit: float, elementwise: bool, learns: bool
) -> Hit:
    floor = reference + math.log(limit) + 2 * TOLERANCE
    fallen = sum(1 for _ in takewhile(lambda level: level <= floor, steps.levels)) - 1
    fallen_at = steps.start + fallen
    horizon, length = steps.end - fallen_at, steps.end + 1
    per_step = factor((steps.levels[fallen] - reference) / max(horizon, 1))
    bias = max(1.0, math.log(length / -math.log(limit)))
    return Hit(
        message=(
            f"The gradient at the state of `{recurrence.name}` (δ) falls under {number(limit)} of its last "
            f"value at step {fallen_at + 1} of {length:,}: only the last {horizon} steps get credit (a "
            f"factor {number(per_step)} a step). Layers in the loop: {names_of(recurrence.layers) or 'none'}."
        ),
        remedy=OF_ELEMENTS if elementwise else _remedy(recurrence, bias, horizon, length),
        evidence={
            "horizon": horizon,
            "step": fallen_at + 1,
            "length": length,
            "decay_per_step": per_step,
            "total": factor(steps.levels[0] - reference),
            "limit": limit,
            "recurrence": recurrence.name,
        },
        layer=recurrence.layers[0] if recurrence.layers else None,
        source=recurrence.source,
        severity=_severity(recurrence, 2 * horizon < length, elementwise, learns),
        layers=recurrence.layers,
        explains=recurrence.layers,
    )


def _remedy(recurrence: Recurrence, bias: float, horizon: int, length: int) -> str:
    enough = f"If {horizon} steps of memory are enough, ignore this rule."
    if recurrence.gated:
        return (
            f"Initialize the gate that keeps the state as open: a bias of {number(bias)} on it (the forget "
            f"gate of an LSTM, the update gate of a GRU) keeps credit over {length} steps. {enough}"
        )
    return (
        f"Use a gated cell (GRU or LSTM) with a forget bias of {number(bias)}, which keeps credit over "
        f"{length} steps; or initialize the recurrent weights as orthogonal and normalize the state. {enough}"
    )
