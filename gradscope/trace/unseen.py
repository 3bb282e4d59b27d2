"""Operations that carry layers and ran as they are, and why gradscope did not look into them."""

from __future__ import annotations

from collections.abc import Iterator

from jax.extend.core import JaxprEqn

from gradscope.records import Skipped
from gradscope.trace.dataflow import Flow
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import CUSTOM

OPAQUE = (
    "gradscope has no rule for this operation: it ran as it is, and the layers inside it were not measured "
    "one by one"
)
CUSTOM_RULE = (
    "it has a custom derivative rule (custom_vjp, custom_jvp): the layers inside it were not measured "
    "one by one"
)
POOLED = (
    "a loop over layers that takes their weights in an order which is not known before it runs: its layers "
    "are measured together, not one by one; scan over the stacked parameters themselves to tell them apart"
)


def unseen(flow: Flow) -> tuple[Skipped, ...]:
    return tuple(dict.fromkeys(_skipped(eqn, reason) for eqn, reason in _with_reasons(flow)))


def _with_reasons(flow: Flow) -> Iterator[tuple[JaxprEqn, str]]:
    for eqn in flow.opaque.values():
        yield eqn, CUSTOM_RULE if eqn.primitive.name in CUSTOM else OPAQUE
    for eqn in flow.pooled.values():
        yield eqn, POOLED


def _skipped(eqn: JaxprEqn, reason: str) -> Skipped:
    source = source_of(eqn)
    return Skipped(f"{eqn.primitive.name}{f' at {source}' if source else ''}", reason)
