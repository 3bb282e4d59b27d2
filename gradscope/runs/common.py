"""What every run shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradscope import __version__
from gradscope.records import Tool

if TYPE_CHECKING:
    from gradscope.load.problem import Problem


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def tool() -> Tool:
    """The versions and the backend that a report names. Imports JAX."""
    import jax

    return Tool(__version__, jax.__version__, jax.default_backend())


def problem_of(loss_fn: Any, params: Any, batch: Any, **fields: Any) -> Problem:
    """The problem itself where one is given in the place of a loss: it holds all the rest already."""
    from gradscope.load.problem import Problem

    return loss_fn if isinstance(loss_fn, Problem) else Problem(loss_fn, params, batch, **fields)
