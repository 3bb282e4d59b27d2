"""Experts that a router sends no row to, in any batch, before and after some steps of training.

## What it does
Reports mixtures of experts of which some are never chosen.

## Why is this bad
An expert that no row is sent to gives nothing, and gets a gradient of exactly 0 from the outputs: its
parameters stay as they are. Routers tend to this by themselves: an expert that is chosen more often learns
more, and is then chosen more often.

## How it is measured
A router is recognized by its operations: the largest of the scores that a layer gives each row are chosen, a
softmax or a sigmoid weighs them, and the choice decides which values of the model are used. How often each
expert is chosen is counted on every row of the measured batches, before any capacity drops some; where one
never is, on those of the short training too, and on all of them again with the weights after its last step.

## Limits
`rows = 16`: rows that an expert would get if all got the same number; with fewer, some are left out by
chance. Source: where each row chooses at random, an expert is left out with a probability of 1e-7.

## Example
    chosen = jax.nn.one_hot(jnp.argmax(p, axis=-1), experts)
    loss = task_loss

Use instead:

    balance = experts * jnp.sum(chosen.mean(0) * p.mean(0))
    loss = task_loss + 0.01 * balance

## What it does not say
A load that is uneven is no finding, however uneven: it stands in the table. An expert that gets its rows from
other data than these batches is seen as idle here.

## Source
Fedus et al. 2022, *Switch Transformers*, section 2.2 (the loss that balances), arXiv:2101.03961; Shazeer et
al. 2017, *Outrageously Large Neural Networks*, section 4, arXiv:1701.06538.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Routing, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

MOST_NAMED = 6
"""Numbers of experts in a message."""


@rule("unbalanced-experts", severity=Severity.WARNING, rows=16)
def unbalanced_experts(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    for routing in measurement.routings:
        idle = routing.idle_later
        enough = routing.rows * routing.chosen >= limits["rows"] * routing.experts
        if idle and enough:
            yield _hit(routing, idle)


def _hit(routing: Routing, idle: tuple[int, ...]) -> Hit:
    named = ", ".join(map(str, idle[:MOST_NAMED])) + (", …" if len(idle) > MOST_NAMED else "")
    largest = max(routing.shares)
    batches = "the batch" if routing.batches == 1 else f"the {routing.batches} batches"
    return Hit(
        message=f"{len(idle)} of the {routing.experts} experts ({named}, counted from 0) are chosen for "
        f"none of the {routing.rows:,} rows of {batches}, nor after the steps of the short training. The "
        f"one that is chosen most gets {number(100 * largest)} % of the choices, where "
        f"{number(100 / routing.experts)} % would be even.",
        remedy="Add a loss that balances the load (`experts * sum(share of the rows * mean probability)`, "
        "times 0.01), or noise on the scores, and begin with a router whose weights are small.",
        evidence={
            "idle": len(idle),
            "experts": routing.experts,
            "largest_share": largest,
            "rows": routing.rows,
            "batches": routing.batches,
        },
        layer=routing.layer,
        source=routing.source,
    )
