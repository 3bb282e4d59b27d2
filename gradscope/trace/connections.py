"""How a parameter leaf reaches the loss: by a gradient, through a cut, by the state alone, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Connection
from gradscope.trace.dataflow import Flow
from gradscope.trace.sites import Value, members_of


def connections_of(
    flow: Flow, count: int, consumed: Sequence[int], loss: Value, aux: Value
) -> tuple[Connection, ...]:
    """Of each leaf; `consumed` are the leaves of every site, those that do not reach the loss included.

    A bias whose layer is connected, in a loss made of derivatives, is constant under them by construction:
    the last bias of an energy whose gradient is a score or a force.
    """
    found = [_connection(1 << i, loss, aux) for i in range(count)]
    if loss.reads & flow.backward:
        for i, connection in enumerate(found):
            beside = 0
            for leaves in consumed:
                beside |= leaves if leaves >> i & 1 else 0
            if connection is Connection.DISCONNECTED and any(
                found[other] is Connection.CONNECTED for other in members_of(beside)
            ):
                found[i] = Connection.DERIVATIVE
    return tuple(found)


def _connection(bit: int, loss: Value, aux: Value) -> Connection:
    if loss.grad & bit:
        return Connection.CONNECTED
    if loss.reads & bit:
        return Connection.BLOCKED
    return Connection.STATE if aux.reads & bit else Connection.DISCONNECTED
