"""What every run shares."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope import __version__
from gradscope.records import Tool


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def tool() -> Tool:
    """The versions and the backend that a report names. Imports JAX."""
    import jax

    return Tool(__version__, jax.__version__, jax.default_backend())
