"""The problem: what a user's file (or a library call) gives the passes to measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """A scalar loss, the parameters it is differentiated by, and the batches it is measured on.

    `loss_fn(params, batch)` returns a scalar or `(scalar, aux)`; with a third parameter it receives a
    PRNG key. Only floating leaves of `params` are differentiated, the others are passed through.
    """

    loss_fn: Callable[..., Any]
    params: Any
    batches: Callable[[], Iterator[Any]]
    """Starts a fresh pass over the batches; only as many as are measured are drawn."""
    optimizer: Any = None
    """An `optax.GradientTransformation`, or `None`."""
    validation_batch: Any = None
    takes_key: bool = False
    """`loss_fn` takes a third argument, a PRNG key."""
    seed: int = 0
    name: str = "loss_fn"
    notes: tuple[str, ...] = ()
    """What loading decided and the user should know: float64 leaves that JAX makes float32, ..."""
