"""A bounded activation function is saturated: most of its inputs lie where it is flat.

## What it does
Reports hidden layers of which half of the elements or more lie where the derivative of the function that
follows (tanh, sigmoid, softsign, hard tanh, hard sigmoid) is below a twentieth of its largest.

## Why is this bad
δ is multiplied by that derivative on its way back: little of it arrives at the weights before, and what
arrives comes from few elements. The network is close to one of steps, which a small change of the weights
does not move.

## How it is measured
By the values before the function, over up to four batches, before and after the short training: |z| beyond
2.18 for tanh, 4.36 for the sigmoid, 3.47 for softsign, 1 and 3 for the hard ones. It is looked at where the
root mean square of the layer's output is as large as that would make it.

## Limits
- `share = 0.5`: of the elements of a layer. Source: tfdbg and DeepDiagnosis take half of the units; |tanh|
  beyond 0.975 is where Karpathy's lecture counts (0.97).

Where rescaled weights were tried and trained no better, it is a note; where they trained better the finding
is `mis-scaled-initialization`.
Where more than a tenth of the loss is left, and less than half of that from the rescaled weights, it stays a
warning.

## Example
    h = jnp.tanh(x @ jax.random.normal(key, (256, 256)))               # 16 times too large

Use instead:

    h = jnp.tanh(x @ (jax.random.normal(key, (256, 256)) / 16))        # 1 / sqrt(fan_in)

## What it does not say
The last layer is not looked at: a classifier that is sure of itself saturates its output. A sigmoid
whose result is multiplied by other data is a gate, and may be open or closed; nor is a cell looked at that
adds two products before its function, nor a layer whose parameters are single numbers (a learned schedule of
noise levels: its sigmoid is a variance that goes from 0 to 1).

## Source
Glorot and Bengio 2010 (AISTATS); Rakitianskaia and Engelbrecht 2015, *Measuring saturation in neural
networks*.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining, UnitActivity
from gradscope.rules.activations.another_start import tried, worst
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.initial_scale import started_otherwise
from gradscope.rules.parts import by_layer, source_of
from gradscope.rules.words import number

_NAMES = {"logistic": "sigmoid"}
IN_TRAINING = "Lower the learning rate or warm it up"


@rule(
    "saturated-units",
    severity=Severity.WARNING,
    symptom_of=(
        "non-finite",
        "vanishing-gradient",
        "zero-gradient",
        "mis-scaled-initialization",
        "unnormalized-input",
        "learning-rate-too-high",
        "ascending-update",
        "collapsed-representations",
        "exploding-through-time",
        "vanishing-through-time",
    ),
    uses=("training",),
    share=0.5,
)
def saturated_units(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    single = {
        layer
        for layer, leaves in by_layer(measurement, measurement.parameters).items()
        if leaves and all(leaf.size == 1 for leaf in leaves)
    }
    seen = [
        units
        for units in measurement.units
        if units.bound is not None and units.hidden and units.layer not in single
    ]
    found = worst(seen, _share, limits["share"])
    if found is None:
        return
    units, died = found.units, found.died
    grave, outcome = tried(training)
    change = IN_TRAINING if died else started_otherwise(measurement, units.layer)
    yield Hit(
        message=f"{_how_much(units, training, died=died)}{found.others}{outcome}",
        remedy=f"{f'{change}, or put' if change else 'Put'} a normalization (LayerNorm, BatchNorm) before "
        "the function.",
        evidence={
            "saturated": _share(units, died),
            "limit": limits["share"],
            "bound": units.bound or 0.0,
            "layers": len(found.layers),
        },
        layer=units.layer,
        source=source_of(measurement, units.layer),
        severity=grave,
        layers=found.layers,
        explains=found.layers,
    )


def _share(units: UnitActivity, died: bool) -> float:
    return units.saturated_later or 0.0 if died else units.saturated


def _how_much(units: UnitActivity, training: ShortTraining | None, *, died: bool) -> str:
    function = _NAMES.get(units.function, units.function)
    flat = (
        f"beyond ±{number(units.bound or 0)}, where the derivative of the {function} after it is below a "
        "twentieth of its largest"
    )
    layer, before = units.layer, _percent(units.saturated)
    if died and training is None:
        return (
            f"{_percent(_share(units, True))} of the outputs of `{layer}` lie {flat}; before, {before} did."
        )
    if died and training is not None:
        return (
            f"After {training.steps} steps of {training.optimizer} {_percent(_share(units, True))} of the "
            f"outputs of `{layer}` lie {flat}; before them {before} did."
        )
    if training is None or units.saturated_later is None:
        return f"{before} of the outputs of `{layer}` lie {flat}."
    return (
        f"{before} of the outputs of `{layer}` lie {flat}; after {training.steps} steps of "
        f"{training.optimizer} {_percent(units.saturated_later)} do."
    )


def _percent(share: float) -> str:
    return f"{number(100 * share)} %"
