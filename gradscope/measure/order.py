"""Whether a model with attention knows the order of its places, and positions for one that does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.measure.flow import FlowPass
from gradscope.records import Attention, OrderBlind
from gradscope.trace import jaxprs
from gradscope.trace.domains.data_meetings import data_meetings
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.uses import arrays_of
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of

SAME = 1e-5
"""Share of the loss: below it a change is of the size of rounding."""
BASE = 10000.0
"""Of the wave lengths of positions, in the paper."""


@dataclass(frozen=True)
class Entrance:
    """Where the data come into the model, place by place."""

    eqn: JaxprEqn
    axis: int
    """Of the places in the result."""
    record: OrderBlind

    @property
    def functions(self) -> dict[int, Callable[..., Any]]:
        return {id(self.eqn): partial(_with_positions, self.eqn, self.axis)}


def order_blind(
    program: Program,
    flow: FlowPass,
    batch: Any,
    inputs: Inputs,
    loss: float,
    attentions: Sequence[Attention],
) -> Entrance | None:
    """Where the loss stays as it is with the places in another order, in all arrays of the batch that have
    them; looked at where an attention has as many queries as keys, and none hides earlier or later places: a
    mask that does tells the order. `loss` is that of the inputs as they are.
    """
    if any(bool(each.forward) != bool(each.backward) for each in attentions):
        return None
    lengths = {each.keys for each in attentions if each.keys == each.queries and each.keys > 2}
    if len(lengths) != 1:
        return None
    (length,) = lengths
    entrance = _entrance(program, length)
    others = _turned(batch, inputs, length)
    if entrance is None or others is None:
        return None
    moved = float(jax.device_get(flow.loss(replace(inputs, others=others))))
    if not abs(moved - loss) <= SAME * abs(loss):
        return None
    return replace(entrance, record=replace(entrance.record, loss=loss, other=moved))


def _entrance(program: Program, length: int) -> Entrance | None:
    """The first place where data meet parameters alone, and that gives a row for each place."""
    for meeting in data_meetings(program.body, len(program.leaves)):
        eqn = meeting.eqn
        if meeting.outputs or len(eqn.outvars) != 1 or eqn.primitive.name not in ("gather", "dot_general"):
            continue
        shape = shape_of(eqn.outvars[0])
        if len(shape) > 2 and shape[1] == length and max(shape[2:-1], default=1) == 1 < shape[-1]:
            record = OrderBlind(source_of(eqn, meeting.calls), places=length, loss=0.0, other=0.0)
            return Entrance(eqn, 1, record)
    return None


def _turned(batch: Any, inputs: Inputs, length: int) -> list[Any] | None:
    """The arrays of the batch with their places in another order; `None` where none has places."""
    order, others, turned = np.random.default_rng(0).permutation(length), list(inputs.others), False
    for each in arrays_of(batch, inputs):
        value = others[each.place]
        if np.ndim(value) > 1 and value.shape[1] == length:
            others[each.place] = jnp.take(jnp.asarray(value), order, axis=1)
            turned = True
    return others if turned else None


def _with_positions(eqn: JaxprEqn, axis: int, *values: Any) -> Any:
    """The rows, with sines and cosines of their places added, as large as they are."""
    rows = jaxprs.run_equation(eqn, values)[0]
    width, dtype = rows.shape[-1], jnp.float32
    place = lax.broadcasted_iota(dtype, rows.shape, axis)
    unit = lax.broadcasted_iota(jnp.int32, rows.shape, rows.ndim - 1)
    angle = place * jnp.power(BASE, -(2.0 / width) * (unit // 2).astype(dtype))
    wave = jnp.where(unit % 2 == 0, jnp.sin(angle), jnp.cos(angle))
    size = jnp.sqrt(2 * jnp.mean(jnp.square(lax.stop_gradient(rows).astype(dtype))))
    return (rows + size * wave).astype(rows.dtype)
