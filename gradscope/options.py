"""How a target is loaded, as the command line says it; standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What wins over the names in the user's file."""

    batch_size: int | None = None
    seed: int = 0
    timeout: float | None = None
    """[seconds] for the user's code to load."""
    data: tuple[str, ...] = ()
    """Files that take the place of the batches in the user's file."""
    x: tuple[str, ...] = ()
    """Names of the arrays or columns that are the inputs."""
    y: tuple[str, ...] = ()
    """Those that are the targets."""
    params: str | None = None
    """A checkpoint whose parameters take the place of the initial ones."""
