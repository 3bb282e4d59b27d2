"""What a user may give as an optimizer, and as optimizers of their own to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.message_text import short_repr, type_name
from gradscope.load.model.frameworks.table import transform_and_state
from gradscope.load.model.optimizer_state import resumed


def checked_optimizer(optimizer: Any) -> Any:
    transform, state = transform_and_state(optimizer)
    if transform is not None:
        return resumed(transform, state)
    if optimizer is None or is_optimizer(optimizer):
        return optimizer
    raise GradscopeError(
        f"optimizer is {short_repr(optimizer)}, of type {type_name(optimizer)}.",
        why="It has no functions `init` and `update`.",
        fix="Give an `optax.GradientTransformation`: `optimizer = optax.adam(1e-3)`.",
        slug="not-an-optimizer",
    )


def checked_candidates(candidates: Any) -> Mapping[str, Callable[[Any], Any]]:
    if candidates is None:
        return {}
    if isinstance(candidates, Mapping) and all(
        isinstance(n, str) and callable(c) for n, c in candidates.items()
    ):
        return dict(candidates)
    raise GradscopeError(
        f"candidates is {short_repr(candidates)}, of type {type_name(candidates)}.",
        why="It maps names to functions that make an optimizer from a learning rate.",
        fix='Write `candidates = {"mine": lambda lr: optax.chain(...)}`.',
        slug="not-an-optimizer",
    )


def is_optimizer(value: Any) -> bool:
    return callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))
