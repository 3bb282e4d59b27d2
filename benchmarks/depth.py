"""Depth: layers written out, whole processes with an empty compilation cache, against a jitted gradient.

The script that gradscope is held against loads the same file and runs its gradient once. From 48 layers on
XLA takes minutes for it, and it is left out.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.processes import HERE, PLAIN, gradscope, seconds

FILE = str(HERE / "files" / "deep_transformer.py")
ROUNDS = {12: 3, 24: 2, 48: 2, 96: 2}
PLAIN_UP_TO = 24
EDITED = 48


def checked(layers: int, cache: str, **edited: str) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole process, and the timing in its report."""
    report = Path(cache) / "report.json"
    arguments = ("check", FILE, "--format", "json", "--output", str(report))
    spent = seconds(gradscope(*arguments), LAYERS=str(layers), XDG_CACHE_HOME=cache, **edited)
    timing: dict[str, Any] = json.loads(report.read_text())["timing"]
    return spent, timing


def depth(layers: int) -> dict[str, Any]:
    script = [sys.executable, "-c", PLAIN.format(folder=str(HERE.parent), file=FILE)]
    plain, ours, timing = [], [], {}
    for _ in range(ROUNDS[layers]):
        if layers <= PLAIN_UP_TO:
            plain.append(seconds(script, LAYERS=str(layers)))
        with tempfile.TemporaryDirectory() as cache:
            spent, timing = checked(layers, cache)
            ours.append(spent)
    row = {
        "layers": layers,
        "blocks": f"{timing['distinct_blocks']} of {timing['blocks']}",
        "compile_s": timing["compile_s"],
        "check_s": statistics.median(ours),
    }
    if plain:
        row["against_s"] = statistics.median(plain)
        row["ratio"] = statistics.median(o / p for o, p in zip(ours, plain, strict=True))
    return row


def edit() -> dict[str, Any]:
    """A second run after one layer got another activation, with the cache of the first."""
    first, second, compiling = [], [], []
    for _ in range(ROUNDS[EDITED]):
        with tempfile.TemporaryDirectory() as cache:
            spent, before = checked(EDITED, cache)
            first.append(spent)
            spent, after = checked(EDITED, cache, EDITED=str(EDITED // 2))
            second.append(spent)
            compiling.append(after["compile_s"] / before["compile_s"])
    return {
        "layers": f"{EDITED}, one edited",
        "compile_s": statistics.median(compiling),
        "check_s": statistics.median(second),
        "against_s": statistics.median(first),
        "ratio": statistics.median(s / f for s, f in zip(second, first, strict=True)),
    }


def rows() -> list[dict[str, Any]]:
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    return [*(depth(layers) for layers in ROUNDS), edit()]
