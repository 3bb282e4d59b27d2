"""A training step computes more than the limit that was given.

## What it does
Compares the operations of a training step with what `--fail-on cost:2TFLOP` of `gradscope cost` names.

## Why is this bad
Time and money of a training grow with it. A change that doubles it by accident (a layer that is called
twice, a product over an axis too many) changes no loss, and no other rule sees it.

## How it is measured
Counted in the traced loss, its gradient and the update of the optimizer: a multiplication and an addition
of a product are two operations, what is done element by element is one for each element. Nothing is run for
it, and the number is the same on every machine.

## Limits
None of its own: the command is given one.

## Example
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k)    # grows with the square of the length

Use instead, where the length is what costs: shorter sequences, or attention over a window.

## What it does not say
How long it takes: `gradscope cost` measures that, too, and says which layer takes most.

## Source
Williams, Waterman and Patterson 2009, *Roofline*, doi:10.1145/1498765.1498785 (operations and bytes); Kaplan
et al. 2020, arXiv:2001.08361 (operations of a training step as its cost).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Cost, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, number


@rule("cost-over-limit", severity=Severity.ERROR, needs=("cost",), single_seed_suffices=True)
def cost_over_limit(cost: Cost, limits: Limits) -> Iterator[Hit]:
    del limits
    if cost.limit is None or cost.step <= cost.limit:
        return
    rows = "" if cost.batch_size is None else f" with {count(cost.batch_size, 'row')}"
    top = max(cost.layers, key=lambda layer: layer.operations, default=None)
    share = top.operations / cost.operations if top is not None and cost.operations else 0.0
    most = "" if top is None or top.name is None else f" Its `{top.name}` takes {share:.0%} of them."
    yield Hit(
        message=(
            f"A training step{rows} takes {number(cost.step)} operations, and the limit is "
            f"{number(cost.limit)}.{most}"
        ),
        remedy="Use a smaller batch, or look with `gradscope cost` which layer takes most, and since when.",
        evidence={"operations": cost.step, "limit": cost.limit},
        source=cost.lines[0].source if cost.lines else None,
        explains=(),
    )
