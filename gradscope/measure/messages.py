"""Messages that come back to the rows that they were gathered from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from gradscope.records import ReturnedMessages
from gradscope.trace.domains.messages import MessageSum, messages
from gradscope.trace.domains.objective.given import Given
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of


def returned_messages(program: Program, batch: Any, inputs: Sequence[Inputs]) -> Iterator[ReturnedMessages]:
    """Sums that get, in all measured batches, rows by the index by which they were gathered, several of some.

    Not where the same rows reach others by another sum.
    """
    found = messages(program, batch)
    if not found.sums:
        return
    given = [[*each.weights, *each.others, *program.body.consts] for each in inputs]
    known: dict[int, list[Any]] = {}

    def values(index: Given) -> list[Any]:
        if id(index) not in known:
            known[id(index)] = [np.ravel(jax.device_get(index.value(each))) for each in given]
        return known[id(index)]

    def back(each: MessageSum) -> bool:
        own = values(each.index)
        return all(
            all(map(np.array_equal, own, values(found.gathers[gather].index))) for gather in each.gathers
        )

    onward = {gather for each in found.sums if not back(each) for gather in each.gathers}
    owner = {site.id: layer.name for layer in program.layers for site in layer.sites}
    for each in found.sums:
        index = values(each.index)[0]
        senders = np.unique(index).size
        if back(each) and onward.isdisjoint(each.gathers) and 1 < senders < index.size:
            yield ReturnedMessages(
                source=source_of(each.eqn, each.calls),
                layer=None if each.site is None else owner.get(each.site),
                messages=int(index.size),
                senders=int(senders),
                rows=found.gathers[each.gathers[0]].rows,
            )
