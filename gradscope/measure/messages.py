"""Messages that come back to the rows that they were gathered from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import ReturnedMessages
from gradscope.trace.domains.messages import MessageSum, messages
from gradscope.trace.domains.objective.given import Given
from gradscope.trace.domains.uses import arrays_of
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of


@dataclass(frozen=True)
class Returned:
    record: ReturnedMessages
    sum: MessageSum
    receivers: Callable[[Sequence[Any]], Any] | None
    """The other index, as the sum takes it, of the inputs of the program and its constants; `None` where the
    batch has none, or several that could be it."""


def returned_messages(program: Program, batch: Any, inputs: Sequence[Inputs]) -> list[Returned]:
    """Sums that get, in all measured batches, rows by the index by which they were gathered, several of some.

    Not where the same rows reach others by another sum.
    """
    found = messages(program, batch)
    if not found.sums:
        return []
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
    owner = program.layer_names
    returned = []
    for each in found.sums:
        index, rows = values(each.index)[0], found.gathers[each.gathers[0]].rows
        senders = int(np.unique(index).size)
        if back(each) and onward.isdisjoint(each.gathers) and 1 < senders < index.size:
            layer = None if each.site is None else owner.get(each.site)
            source = source_of(each.eqn, each.calls)
            record = ReturnedMessages(source, layer, int(index.size), senders, rows)
            returned.append(Returned(record, each, _receivers(batch, inputs[0], each, index, rows)))
    return returned


def _receivers(
    batch: Any, inputs: Inputs, found: MessageSum, index: Any, rows: int
) -> Callable[[Sequence[Any]], Any] | None:
    """The one other array of the batch, or row or column of one, that can be an index of as many messages."""
    first, others = len(inputs.weights), []
    for each in arrays_of(batch, inputs):
        value = np.asarray(inputs.others[each.place])
        if value.dtype.kind not in "iu":
            continue
        cuts: list[Any] = [()] if value.shape == index.shape else []
        cuts += [(i,) for i in (0, 1) if value.shape == (2, index.size)]
        cuts += [(slice(None), i) for i in (0, 1) if value.shape == (index.size, 2)]
        for cut in cuts:
            array = value[cut]
            fits = array.min(initial=0) >= 0 and array.max(initial=0) < rows
            if fits and not np.array_equal(array, index):
                others.append((first + each.place, cut))
    if len(others) != 1:
        return None
    ((place, cut),) = others
    aval: Any = found.eqn.invars[1].aval

    def taken(values: Sequence[Any]) -> Any:
        return jnp.asarray(values[place])[cut].astype(aval.dtype).reshape(aval.shape)

    return taken
