"""Units and other starts made by hand."""

from __future__ import annotations

from typing import Any

from gradscope.records import RescaledLayer, RescaledStart, UnitActivity


def units(layer: str, dead: int = 0, saturated: float = 0.0, **fields: Any) -> UnitActivity:
    defaults: dict[str, Any] = {
        "function": "relu" if dead else "tanh",
        "units": 64,
        "elements": 128,
        "batches": 1,
        "bound": None if dead else 2.18,
        "hidden": True,
    }
    return UnitActivity(layer, dead=dead, saturated=saturated, **(defaults | fields))


def another_start(end: float, end_without: float, **fields: Any) -> RescaledStart:
    defaults: dict[str, Any] = {
        "layers": (RescaledLayer("layers[1]", 20.0, 20.0, 0.1),),
        "steps": 100,
        "start_without": 2.0,
        "start": 2.0,
    }
    return RescaledStart(end=end, end_without=end_without, **(defaults | fields))
