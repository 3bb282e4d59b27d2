"""Short trainings made by hand: a loss of 2 and one healthy leaf unless told otherwise."""

from __future__ import annotations

from typing import Any

from gradscope.records import Intervention, LeafUpdate, ShortTraining, TriedSkips


def leaf(name: str = "body.w", **fields: Any) -> LeafUpdate:
    defaults: dict[str, Any] = {
        "layer": name.rpartition(".")[0] or name,
        "dtype": "float32",
        "size": 1000,
        "gradient": True,
        "moved": True,
        "unchanged_share": 0.0,
        "arrived_share": 1.0,
        "ascent": -0.7,
    }
    return LeafUpdate(name, **(defaults | fields))


def tried(change: str, factor: float, end: float, **fields: Any) -> Intervention:
    return Intervention(
        **({"change": change, "factor": factor, "steps": 20, "start": 2.0, "end": end} | fields)
    )


def skips(**fields: Any) -> TriedSkips:
    """Residual connections that cure a stack of its slowness."""
    defaults: dict[str, Any] = {
        "source": None,
        "layers": ("layers[1]",),
        "values": 3,
        "steps": 100,
        "start_without": 2.0,
        "end_without": 1.9,
        "end_faster": 1.9,
        "start": 3.0,
        "end": 0.0,
    }
    return TriedSkips(**(defaults | fields))


def trained(*leaves: LeafUpdate, **fields: Any) -> ShortTraining:
    defaults: dict[str, Any] = {
        "optimizer": "your optimizer",
        "own": True,
        "restored": False,
        "steps": 20,
        "losses": (2.0,) * 20,
        "start": 2.0,
        "end": 1.5,
        "batches": 1,
        "leaves": leaves or (leaf(),),
        "update_max": 0.01,
        "fresh_update_max": 0.01,
        "moves_at": 1,
    }
    return ShortTraining(**(defaults | fields))
