"""The learning rate inside an optimizer that the user made: optax keeps it in closures only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

DEEP = 8
"""Functions inside functions that are looked into."""


def learning_rate_of(optimizer: Any) -> float | None:
    """The constant rate of an optimizer, or `None` where it has none, several, or a schedule."""
    found = set(_rates([getattr(optimizer, name, None) for name in ("init", "update")], DEEP))
    return found.pop() if len(found) == 1 else None


def _rates(value: Any, depth: int) -> Iterator[float]:
    if depth == 0:
        return
    if isinstance(value, tuple | list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _rates(each, depth)
    elif isinstance(value, Callable) and hasattr(value, "__closure__"):  # type: ignore[arg-type]
        yield from _of_function(value, depth)
    elif not isinstance(value, type) and (rate := _number(getattr(value, "learning_rate", None))):
        yield rate


def _of_function(function: Any, depth: int) -> Iterator[float]:
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    values = {name: _content(cell) for name, cell in cells.items()}
    if getattr(function, "__qualname__", "").startswith("scale.<locals>"):
        step = _number(values.get("step_size"))
        # A factor above zero only rescales: it is the last one, which turns gradients into steps down.
        if step is not None and step < 0:
            yield -step
        return
    constants = values.get("numeric_hps")
    if isinstance(constants, dict) and (rate := _number(constants.get("learning_rate"))) is not None:
        yield rate
        return
    for value in values.values():
        yield from _rates(value, depth - 1)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return None


def _number(value: Any) -> float | None:
    if value is None or callable(value) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
