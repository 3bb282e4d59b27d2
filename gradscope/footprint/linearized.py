"""The loss as two programs: forward, with what it keeps for backward, and backward, which reads that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import Var

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body


@dataclass(frozen=True)
class Linearized:
    """Values are matched by place: output `1 + i` of forward is input `i` of backward."""

    forward: Body
    """From the inputs of the loss to the loss and what is kept."""
    backward: Body
    """From what is kept and the cotangent of the loss to the gradients."""

    @property
    def kept(self) -> list[tuple[Any, Any]]:
        """Each array that the pullback holds: its variable in forward, and in backward; once each."""
        pairs: dict[Any, Any] = {}
        for made, read in zip(self.forward.jaxpr.outvars[1:], self.backward.jaxpr.invars, strict=False):
            if isinstance(made, Var):
                pairs.setdefault(made, []).append(read)
        return list(pairs.items())


def linearized(body: Body, weights: Sequence[Any], others: Sequence[Any]) -> Linearized:
    """`jax.vjp` of a loss with respect to its first inputs: what its pullback holds is what JAX keeps.

    Nothing runs: shapes are enough.
    """
    run = jaxprs.as_program(body)

    def forward(weights: list[Any], others: list[Any]) -> Any:
        return jax.vjp(lambda weights: run(*weights, *others)[0], weights)

    closed, (loss, pullback) = jax.make_jaxpr(forward, return_shape=True)(list(weights), list(others))
    held, structure = jax.tree.flatten(pullback)
    cotangent = jax.ShapeDtypeStruct(loss.shape, loss.dtype)  # type: ignore[no-untyped-call]
    backward = jax.make_jaxpr(lambda held, cotangent: jax.tree.unflatten(structure, held)(cotangent))(
        held, cotangent
    )
    return Linearized(jaxprs.body_of(closed), jaxprs.body_of(backward))
