"""How a run says what it is doing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with the name of each stage as it begins: "compiling"."""


def silent(stage: str) -> None:
    """The progress of a run that nobody watches."""
    del stage
