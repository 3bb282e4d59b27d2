"""Finds inputs and targets in a batch, where no loss of the user does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INPUT_NAMES = (
    "x", "inputs", "input", "image", "images", "features", "feature", "input_ids", "tokens", "text", "data",
    "observation", "observations", "obs", "pixels",
)  # fmt: skip
TARGET_NAMES = (
    "y", "label", "labels", "target", "targets", "output", "outputs", "answer", "class", "classes",
)  # fmt: skip


def parts_of(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets of `(x, y)` or of a dict with usual names; `None` for what is not found."""
    names = named_parts(batch)
    if names:
        x = next((name for name in INPUT_NAMES if name in names), None)
        y = next((name for name in TARGET_NAMES if name in names), None)
        if x is None and y is not None and len(names) == 2:
            x = next(name for name in names if name != y)
        return names.get(x or ""), names.get(y or "")
    if isinstance(batch, tuple | list):
        return (batch[0], batch[1]) if len(batch) == 2 else (batch[0] if batch else None, None)
    return batch, None


def named_parts(batch: Any) -> dict[str, Any]:
    if isinstance(batch, Mapping):
        return {str(name): value for name, value in batch.items()}
    fields = getattr(batch, "_fields", ()) if isinstance(batch, tuple) else ()
    return {field: batch[index] for index, field in enumerate(fields)}
