"""Your optimizer ends at a clearly higher training loss than in the saved run.

## What it does
Compares the `optimizer` of your file with the same one in a saved run (`gradscope compare-optimizers
--against RUN.json`) and reports where it has lost more than the limit of the improvement that it made then.
Without a saved run it says nothing.

## Why is this bad
A change of code that was not meant to touch training did: a learning rate, a schedule, a mask, the scale of
the loss, the data. The loss still falls, and no single run shows that it once fell further.

## How it is measured
Both runs train from the same seeds for the same number of steps. The final loss of each is the median over
its seeds, of the mean over the last steps. What was lost is the difference of the two over the improvement in
the saved run: the initial loss less the final one. A difference within the spread over the seeds of either
run is none.

## Limits
- `lost = 0.05`: the share of the improvement that may be lost. Source: a choice, not a measurement; the
  spread of your own seeds decides what is a change at all. `--fail-on regression:2%` sets another limit.

## Example
    optimizer = optax.adam(1e-5)       # the run was saved with optax.adam(1e-3)

Use instead the optimizer of the saved run, or save the run again where the change was meant:

    gradscope compare-optimizers model.py --save run.json

## What it does not say
Why. Where the loss starts elsewhere than in the saved run the model, the data or the loss changed, and the
message says so. Other numbers of steps or other seeds than in the saved run are an error of the input.
A few hundred steps measure the beginning of training only.

## Source
Dahl et al. 2023, *Benchmarking Neural Network Training Algorithms*, arXiv:2306.07179 (the same workload,
seeds and budget for both sides of a comparison).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Comparison, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.optimizer.saved_run import lost

REMEDY = (
    "Look at what changed since: the optimizer, its learning rate, the loss, the data. If the change was "
    "meant, save the run again with `--save`."
)


@rule("optimizer-regression", severity=Severity.ERROR, needs=("optimizers", "saved"), lost=0.05)
def optimizer_regression(now: Comparison, before: Comparison, limits: Limits) -> Iterator[Hit]:
    found, limit = lost(now, before), limits["lost"]
    if found is None or now.own is None or before.own is None or not found.share > limit:
        return
    yield Hit(
        message=f"{found.text} More than the limit of {100 * limit:g}%.",
        remedy=REMEDY,
        evidence={
            "lost": found.share,
            "limit": limit,
            "final_loss": now.own.final_loss,
            "saved_final_loss": before.own.final_loss,
            "spread": found.spread,
        },
    )
