"""The last layer gives all rows of the batch the same output, although their targets differ.

## What it does
Reports a last layer whose output is the same for all rows of the batch, or nearly so, before and after the
short training, while the targets differ from row to row.

## Why is this bad
A network with one answer for all can learn the frequencies of the classes, or the mean of the targets, and
nothing more. The loss falls a little and stays there. A dead or saturated layer, inputs that are multiplied
by almost nothing, a normalization over the wrong axis or a reduction over the batch are how it happens.

## How it is measured
The *spread* of the output is the rms of what is left of its elements without their mean over the rows of the
batch, over the rms of the output. It is measured in a forward pass of its own at the params of the file and
after the short training, and only where numbers at hand look like it.

## Limits
- `spread = 1e-3`: before and after the steps. Source: a choice; healthy outputs have 0.1 to 1.
- `share = 0.01`: of targets, the rows' outputs differ by less than this part of what the targets do; of
  classes, by less than this. So a large offset that all rows share does not count.
- `growth = 10`: where the spread grows by more than so many times, as behind a head that starts at 0, nothing
  is said.

It is a warning: what makes the rows alike is not tried.

## Example
    h = jax.nn.sigmoid(x @ w1 + 40.0)           # 1 for every row
    logits = h @ w2

Use instead:

    h = jax.nn.sigmoid(x @ w1)

## What it does not say
That several layers before it have become alike as well is `collapsed-representations`, and labels of a single
class are `constant-data`.

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems*, arXiv:1910.11015; Karpathy 2019, *A
Recipe for Training Neural Networks* (an input-independent baseline).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import ConstantOutput, Measurement, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.data_and_loss.collapsed_representations import SYMPTOM_OF
from gradscope.rules.parts import source_of
from gradscope.rules.words import number

REMEDY = (
    "Look at the layers before it for one whose output is the same for all rows: saturated or dead units, a "
    "factor of almost 0, a reduction over the batch."
)


@rule(
    "constant-output",
    severity=Severity.WARNING,
    symptom_of=(
        *SYMPTOM_OF,
        "collapsed-representations",
        "constant-data",
        "dead-units",
        "mis-scaled-initialization",
        "saturated-units",
        "weight-decay-too-high",
    ),
    needs=("flow", "training"),
    spread=1e-3,
    share=0.01,
    growth=10.0,
)
def constant_output(measurement: Measurement, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    for found in training.outputs:
        if not _is_constant(found, limits):
            continue
        yield Hit(
            message=(
                f"`{found.layer}` gives all {found.rows:,} rows of the batch nearly the same output, and "
                f"their targets differ: what the outputs do not have in common is {number(found.before)} of "
                f"their rms (limit {number(limits['spread'])}), and {number(found.after)} after "
                f"{training.steps} steps. "
                f"The loss goes from {number(training.start)} to {number(training.end)}{_best(training)}."
            ),
            remedy=REMEDY,
            evidence={
                "spread": found.before,
                "spread_after": found.after,
                "limit": limits["spread"],
                "loss_before": training.start,
                "loss_after": training.end,
            },
            layer=found.layer,
            source=source_of(measurement, found.layer),
        )


def _is_constant(found: ConstantOutput, limits: Limits) -> bool:
    alike = max(found.before, found.after) <= limits["spread"]
    alive = found.after > limits["growth"] * found.before
    return alike and not alive and found.deviation <= limits["share"] * found.asked


def _best(training: ShortTraining) -> str:
    """What the labels ask of an answer that is the same for all."""
    if len(training.shares) != 1:
        return ""
    return (
        f"; the frequencies of the labels alone give a cross-entropy of {number(training.shares[0].entropy)}"
    )
