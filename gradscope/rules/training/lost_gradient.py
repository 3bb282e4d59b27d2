"""A layer that had a gradient has none any more, from one step of the training on.

## What it does
Names the layer whose gradient becomes exactly zero in training and stays so to the end, and the step at which
that began, while other layers still have one.

## Why is this bad
What gets no gradient learns nothing more. After a step that was too large every unit of a ReLU layer can be
negative for every sample: it is dead, and so is what lies below it.

## How it is measured
By `gradscope monitor`: the sum of squares over every element of the layer's largest parameter, at each
measured step. It is zero where every element is (or smaller by 1e19 than at the step before). Where the
network is measured once more after the last step, `zero-gradient` says why.

## Limits
`share = 0.1`: it has to last for this share of the run, and for `steps = 20` measured steps. Source: choices.

## Example
    optimizer = optax.sgd(3.0)

Use instead a rate at which the units survive, or an activation with a slope on both sides:

    h = jax.nn.leaky_relu(x @ w + b)

## What it does not say
That it is a fault: an expert to which no token is sent for a while, and a part that a schedule switches off,
look the same.

## Source
Lu et al. 2020, *Dying ReLU and Initialization: Theory and Numerical Examples*.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import History, LayerHistory, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import BROKEN, at_step, broke_down, highest, since
from gradscope.rules.words import count, names_of


@rule(
    "lost-gradient",
    severity=Severity.WARNING,
    symptom_of=(*BROKEN, "zero-gradient", "blocked-gradient"),
    needs=("history",),
    share=0.1,
    steps=20.0,
)
def lost_gradient(history: History, limits: Limits) -> Iterator[Hit]:
    if broke_down(history):
        return
    length = len(history.spans)
    least = max(limits["share"] * length, limits["steps"])
    begun: dict[int, list[LayerHistory]] = {}
    alive = 0
    for layer in history.layers:
        values = highest(layer.gradient_rms)
        place = since([value == 0 for value in values])
        alive += bool(values) and place is None
        if place and length - place >= least:
            begun.setdefault(place, []).append(layer)
    if not alive:
        return
    for place, layers in sorted(begun.items()):
        named = [layer.name for layer in layers]
        when = at_step(history, place)
        yield Hit(
            message=f"The gradient of {names_of(named)} has been exactly zero since {when}, at each of the "
            f"{count(length - place, 'measurement')} to the end; other layers still have one.",
            remedy="Try a lower learning rate, or an activation with a slope on both sides, such as "
            "`jax.nn.leaky_relu`.",
            evidence={
                "step": history.spans[place],
                "measurements": length - place,
                "layers": len(layers),
                "limit": least,
            },
            layer=named[0],
            source=layers[0].source,
            layers=tuple(named),
        )
