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
Where the batch has one other index of as many messages, the sums take it, and the program is trained from
the same weights, five times as many steps as the short training has: an error where that is clearly better
(it gains twice as much, or ends at half of the loss or less, by at least 5 % of what it gains), else a
warning. A loss that falls by 1 % of itself or less with it is not better, nor one that falls by less than a
tenth of what it falls by without, unless it ends at half that share of its start or less.

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

from gradscope.records import Measurement, Severity, ShortTraining, TriedVariant
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.variants import compared


@rule("returned-messages", severity=Severity.ERROR, uses=("training",), single_seed_suffices=True)
def returned_messages(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    del limits
    found = measurement.structure.returned_messages
    if not found:
        return
    first, tried = found[0], measurement.structure.received
    more = "" if len(found) == 1 else f" The same holds for {len(found) - 1} more."
    yield Hit(
        message=f"{first.messages:,} rows are gathered from {first.rows:,} and summed by the very index that "
        f"they were gathered by: each of {first.senders:,} rows gets itself back, as often as it stands "
        f"there, and nothing of any other.{more}{_with_receivers(tried, training)}",
        remedy="Sum messages by their receivers: `jax.ops.segment_sum(x[senders], receivers, n)`.",
        evidence={
            "messages": first.messages,
            "senders": first.senders,
            "rows": first.rows,
            "sums": len(found),
        }
        | ({} if tried is None else {"loss_after": tried.end_without, "loss_after_receivers": tried.end}),
        layer=first.layer,
        source=first.source,
        severity=Severity.ERROR if tried is not None and tried.better else Severity.WARNING,
    )


def _with_receivers(tried: TriedVariant | None, training: ShortTraining | None) -> str:
    """Nothing where there is no one index to try."""
    return "" if tried is None else compared(tried, training, "the other index of the batch")
