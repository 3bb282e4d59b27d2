"""Units of a layer are dead: their activation function passes nothing on and nothing back, for any input.

## What it does
Reports layers of which half of the units or more lie, at every row of every measured batch, where the
derivative of the activation function that follows is exactly 0: at or below 0 for a ReLU.

## Why is this bad
A dead unit has the same output for every input, and its weights and its bias get a gradient of exactly 0: no
step brings it back. The layer is as narrow as what is left of it. Often a bias that is negative, an input
that is not centered, or a step that was too large has done it.

## How it is measured
By value: the largest output of each unit before the activation function, over up to four batches, before and
after the short training. It is looked at where at least a third of the layer's gradient is exactly 0, which
so many dead units would make it. Units of a convolution are its channels, over all positions. Units that the
steps of the short training wake, because the layers before them move, do not count.

## Limits
- `share = 0.5`: of the units of a layer. Source: between a tenth, which is common in networks that train (Lu
  et al. 2019), and AUTOTRAINER's 0.7 of the gradient; TensorFlow's debugger and tfdbg's successors use 0.5.
- `elements = 16`: values of each unit that have to be seen. A unit that is alive for half of all rows is
  silent for sixteen of them once in 65,536 times.

Where rescaled weights were tried and trained no better, it is a note.
Where more than a tenth of the loss is left, and less than half of that from the rescaled weights, it stays a
warning.

## Example
    h = jax.nn.relu(x @ w - 1.5)            # most units never exceed 0

Use instead:

    h = jax.nn.relu(x @ w)                  # a bias of 0 and He initialization

## What it does not say
Units that are off for most rows and on for some are alive: sparse activations are no fault. Functions with a
slope everywhere (leaky ReLU, GELU, SiLU) have no dead units. A layer all of whose units are dead is
`zero-gradient`. A ReLU that is written as a `where` is not recognized.

## Source
Lu et al. 2019, *Dying ReLU and Initialization*, arXiv:1903.06733; Zhang et al. 2021, *AUTOTRAINER* (ICSE).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining, UnitActivity
from gradscope.rules.activations.another_start import tried, worst
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.initial_scale import started_otherwise
from gradscope.rules.parts import source_of
from gradscope.rules.words import number

IN_TRAINING = "Lower the learning rate or warm it up"


@rule(
    "dead-units",
    severity=Severity.WARNING,
    symptom_of=(
        "non-finite",
        "zero-gradient",
        "mis-scaled-initialization",
        "unnormalized-input",
        "learning-rate-too-high",
        "ascending-update",
        "collapsed-representations",
        "normalized-away",
        "symmetric-units",
    ),
    uses=("training",),
    share=0.5,
    elements=16,
)
def dead_units(measurement: Measurement, training: ShortTraining | None, limits: Limits) -> Iterator[Hit]:
    seen = [units for units in measurement.units if units.elements >= limits["elements"]]
    found = worst(seen, _share, limits["share"])
    if found is None:
        return
    units, died = found.units, found.died
    grave, outcome = tried(training)
    change = IN_TRAINING if died else started_otherwise(measurement, units.layer)
    yield Hit(
        message=f"{_how_many(units, training, died=died)}{found.others}{outcome}",
        remedy=f"{f'{change}, or use' if change else 'Use'} `jax.nn.leaky_relu` or GELU, whose slope is not "
        "zero there.",
        evidence={
            "dead": _dead(units, died),
            "units": units.units,
            "share": _share(units, died),
            "limit": limits["share"],
            "layers": len(found.layers),
        },
        layer=units.layer,
        source=source_of(measurement, units.layer),
        severity=grave,
        layers=found.layers,
        explains=found.layers,
    )


def _dead(units: UnitActivity, died: bool) -> int:
    """After the steps, where they have killed units; else before, less those that the steps have woken."""
    if died:
        return units.dead_later or 0
    return units.dead if units.dead_later is None else min(units.dead, units.dead_later)


def _share(units: UnitActivity, died: bool) -> float:
    return _dead(units, died) / units.units


def _how_many(units: UnitActivity, training: ShortTraining | None, *, died: bool) -> str:
    batches = "1 batch" if units.batches == 1 else f"{units.batches} batches"
    function = "ReLU" if units.function == "relu" else f"`{units.function}`"
    where = (
        f"for all {units.elements:,} values of each in {batches} they lie where the {function} after it has "
        "a derivative of exactly 0"
    )
    if died:
        percent = f"{number(100 * _share(units, died))} %"
        when = "" if training is None else f" after {training.steps} steps of {training.optimizer}"
        return (
            f"{units.dead_later or 0:,} of the {units.units:,} units of `{units.layer}` ({percent}) are "
            f"dead{when}, {units.dead:,} were before: {where}."
        )
    after = ""
    if units.dead_later is not None and training is not None:
        after = (
            f"; after {training.steps} steps of {training.optimizer} {units.dead_later:,} "
            f"{'is' if units.dead_later == 1 else 'are'}"
        )
    of = f"{units.dead:,} of the {units.units:,} units of `{units.layer}`"
    before = f"{number(100 * units.dead / units.units)} %"
    return f"{of} ({before}) are dead: {where}{after}."
