"""What every run shares."""

from __future__ import annotations

from gradscope import __version__
from gradscope.records import Tool


def tool() -> Tool:
    """The versions and the backend that a report names. Imports JAX."""
    import jax

    return Tool(__version__, jax.__version__, jax.default_backend())
