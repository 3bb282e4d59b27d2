"""An optimizer that goes on from the state that the user's file gives, as a restored run does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

LARGE = 2**26
"""Bytes of arrays beyond which a state would swell the program that it becomes a constant of: of such a state
the counters are kept, by which schedules go, and the moments begin at zero."""


@dataclass(frozen=True)
class Resume:
    """The `init` of an optimizer that goes on."""

    fresh: Callable[[Any], Any]
    """The `init` of one that begins."""
    state: Any

    def __call__(self, params: Any) -> Any:
        """The state wherever it fits the params, else a fresh one."""
        leaves, structure = jax.tree.flatten(self.fresh(params))
        given = jax.tree.leaves(self.state)
        if not fits(given, leaves):
            return jax.tree.unflatten(structure, leaves)
        small = sum(np.size(leaf) * leaf.dtype.itemsize for leaf in given) <= LARGE
        kept = [old if small or not np.ndim(old) else new for new, old in zip(leaves, given, strict=True)]
        return jax.tree.unflatten(structure, kept)


def fits(state: Sequence[Any], fresh: Sequence[Any]) -> bool:
    """Whether the leaves of a state have the shapes and dtypes of those of a fresh one."""
    return [_form(leaf) for leaf in state] == [_form(leaf) for leaf in fresh]


def fresh_init(transform: Any) -> Callable[[Any], Any]:
    """The `init` of an optimizer that begins, whatever state the file gives."""
    init: Callable[[Any], Any] = transform.init
    return init.fresh if isinstance(init, Resume) else init


def resumed(transform: Any, state: Any) -> Any:
    """`transform`, whose `init` gives `state` wherever the state fits the params, else a fresh one."""
    if state is None or is_fresh(state):
        return transform
    init = Resume(fresh_init(transform), state)
    if hasattr(transform, "_replace"):
        return transform._replace(init=init)
    return SimpleNamespace(init=init, update=transform.update)


def is_fresh(state: Any) -> bool:
    """Whether it is zero throughout, as most optimizers begin, or holds nothing."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if hasattr(leaf, "dtype")]
    return not any(_is_number(leaf) and bool(np.any(np.asarray(leaf))) for leaf in leaves)


def steps_made(state: Any) -> int:
    """The largest counter in the state."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if hasattr(leaf, "dtype") and not np.ndim(leaf)]
    counters = [
        int(leaf) for leaf in leaves if _is_number(leaf) and jax.numpy.issubdtype(leaf.dtype, np.integer)
    ]
    return max(counters, default=0)


def state_note(state: Any) -> tuple[str, ...]:
    """What the user should know of a state that is not fresh."""
    made = 0 if is_fresh(state) else steps_made(state)
    return (f"The optimizer goes on from its state in the file, after {made:,} steps.",) if made else ()


def _is_number(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, np.number) and isinstance(
        leaf, jax.Array | np.ndarray | np.generic
    )


def _form(leaf: Any) -> Any:
    return np.shape(leaf), getattr(leaf, "dtype", None)
