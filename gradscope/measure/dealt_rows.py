"""Does the loss depend on which examples share a device, and do devices draw the same noise for theirs?

A loss that is a mean over the examples of a batch does not change when they change places. Where a device
computes something of its own examples alone (statistics of a batch, a mean over those that count), it does as
soon as they are exchanged between devices, and does not while each device keeps its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradscope.measure.flow import FlowPass
from gradscope.records import ShardDependence, SharedNoise, SummedLoss
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.domains.sharded_rows import SplitRows, split_rows
from gradscope.trace.domains.summed_means import summed_means
from gradscope.trace.leaves import split
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of


def splits_of(program: Program, inputs: Inputs, batch: Any) -> list[SplitRows]:
    """The `shard_map`s that get rows of the batch."""
    count = len(split(batch).traced)
    first = len(inputs.weights) + len(inputs.others) - 1 - count
    return split_rows(program.body, first, count, examples_of(program, batch))


def summed_losses(program: Program, batch: Any, inputs: Inputs) -> Iterator[SummedLoss]:
    """In the order of the program."""
    count = len(split(batch).traced)
    first = len(inputs.weights) + len(inputs.others) - 1 - count
    for each in summed_means(program.body, first, count):
        yield SummedLoss(source_of(each.eqn, each.calls), each.axes, each.devices, each.rows)


def shared_noise(splits: list[SplitRows]) -> Iterator[SharedNoise]:
    """In the order of the program."""
    for each in splits:
        for draw in each.draws:
            yield SharedNoise(source_of(draw.eqn, draw.calls), each.axes, each.devices, draw.shape)


def dealt(
    flow: FlowPass, inputs: Inputs, batch: Any, loss: float, splits: list[SplitRows]
) -> Iterator[ShardDependence]:
    """For each way in which rows are split; `loss` is that of the inputs as they are."""
    seen, count = set(), len(split(batch).traced)
    for each in splits:
        own = each.rows // each.devices
        if not each.given or own < 2 or (each.rows, each.devices) in seen:
            continue
        seen.add((each.rows, each.devices))
        places = np.arange(each.rows).reshape(each.devices, own)
        turned = _loss(flow, inputs, count, np.roll(places, 1, axis=1).ravel())
        exchanged = _loss(flow, inputs, count, places.T.ravel())
        yield ShardDependence(
            source=source_of(each.eqn, each.calls),
            axes=each.axes,
            devices=each.devices,
            examples=each.rows,
            loss=loss,
            turned=turned,
            dealt=exchanged,
        )


def _loss(flow: FlowPass, inputs: Inputs, count: int, order: NDArray[np.intp]) -> float:
    """With the rows of the last `count` arrays before the key in another order."""
    *arrays, key = inputs.others
    rest = len(arrays) - count
    moved = [*arrays[:rest], *(_moved(each, order) for each in arrays[rest:]), key]
    return float(jax.device_get(flow.loss(replace(inputs, others=moved))))


def _moved(array: Any, order: NDArray[np.intp]) -> Any:
    """Its rows in another order, and where they were; what has no such rows stays."""
    if np.shape(array)[:1] != order.shape:
        return array
    if not isinstance(array, jax.Array):
        return array[order]
    return jax.device_put(jnp.take(array, order, axis=0), array.sharding)
