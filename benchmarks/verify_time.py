"""Seconds of `gradscope verify`, `check_grads` and `gradcheck` over growing size: whole calls, compiling too.

`gradcheck` moves every element by itself, the others along directions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.verify import found_by_jax, found_by_us, network, times, torch_check, torch_is_here

WIDTHS = (16, 64, 256)
SLOWEST_S = 60.0
"""A tool that took longer than this is not asked about the next size."""


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    slow: set[str] = set()
    for width in WIDTHS:
        _, params, _ = network(width, times(1.0))
        row: dict[str, Any] = {"elements": sum(np.size(leaf) for leaf in params.values())}
        for name, run in tools(width).items():
            if name not in slow:
                row[f"{name}_s"] = seconds(run)
                if row[f"{name}_s"] > SLOWEST_S:
                    slow.add(name)
        found.append(row)
    return found


def tools(width: int) -> dict[str, Callable[[], Any]]:
    case = network(width, times(1.0))
    known: dict[str, Callable[[], Any]] = {
        "verify": lambda: found_by_us(*case),
        "check_grads": lambda: found_by_jax(*case),
    }
    return known | ({"gradcheck": lambda: torch_check(width, 1.0, "float64")} if torch_is_here() else {})


def seconds(run: Callable[[], Any]) -> float:
    jax.clear_caches()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
