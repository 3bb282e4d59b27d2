"""Messages along the edges of a graph are summed by their senders: each row gets itself back alone.

## What it does
Reports rows that are gathered by an index and summed by the same one: `segment_sum(x[senders], senders,
n)`.

## Why is this bad
Of n edges that leave a node it gets n times its own row. Nothing of another node arrives, however many such
layers there are: a network on a graph is then one on its nodes alone, with the number of their edges.

## How it is measured
From the program and exactly: what a sum gets is followed back to the gathers that its rows were taken by,
through operations that keep the rows apart (functions of the elements, products over features, one number
for each edge). The two indices are equal in all measured batches, some of their numbers stand there several
times, and the same rows reach no other sum by another index.

## Limits
None. A warning: what was meant is not known.

## Example
    total = jax.ops.segment_sum(nodes[senders], senders, len(nodes))

Use instead:

    total = jax.ops.segment_sum(nodes[senders], receivers, len(nodes))

## What it does not say
Rows that are chosen, changed and put back to their places, each once, and sums onto rows that are there are
meant. Features of the edges beside the gathered rows may hold what the neighbours have, and nothing is
told. Graphs that are batched by `vmap`, and loops, are not looked into.

## Source
Reports on the direction of messages in libraries for graphs (`flow="source_to_target"`); Gilmer et al.
2017, *Neural Message Passing for Quantum Chemistry*, section 2: a node gets the messages of its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule


@rule("returned-messages", severity=Severity.WARNING, single_seed_suffices=True)
def returned_messages(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    found = measurement.structure.returned_messages
    if not found:
        return
    first = found[0]
    more = "" if len(found) == 1 else f" The same holds for {len(found) - 1} more."
    yield Hit(
        message=f"{first.messages:,} rows are gathered from {first.rows:,} and summed by the very index that "
        f"they were gathered by: each of {first.senders:,} rows gets itself back, as often as it stands "
        f"there, and nothing of any other.{more}",
        remedy="Sum messages by their receivers: `jax.ops.segment_sum(x[senders], receivers, n)`.",
        evidence={
            "messages": first.messages,
            "senders": first.senders,
            "rows": first.rows,
            "sums": len(found),
        },
        layer=first.layer,
        source=first.source,
    )
