"""Do the programs of the zoo behave as they claim, by what `python -m benchmarks truth` measured of them?"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from tests.zoo.programs import ZOO, Program

TRUTH = ZOO / "truth.json"
WORSE = 1.25
BETTER = 0.8
OF_THE_WAY = 0.5
"""Where losses may fall below 0, or have a floor: the share of the twin's gain that a sick one may reach."""


def measured() -> dict[str, dict[str, Any]]:
    """By target: what it was compared by at the `start` and at the `end`, and the `mark` of its text."""
    known: dict[str, dict[str, Any]] = json.loads(TRUTH.read_text(encoding="utf-8")) if TRUTH.exists() else {}
    return known


def behaves(one: Program, ends: dict[str, dict[str, float]]) -> bool:
    """Whether it does as it claims, by what was measured of it and of its twin."""
    own = ends[one.target]
    if one.fault is None:
        return math.isfinite(own["end"]) and own["end"] < own["start"] - (1 - BETTER) * abs(own["start"])
    if not math.isfinite(own["end"]):
        return True
    if one.twin is None:
        return own["end"] > BETTER * own["start"]
    twin = ends[f"tests/zoo/healthy/{one.twin}.py"]
    gained = (twin["start"] - own["end"]) / (twin["start"] - twin["end"])
    return gained < OF_THE_WAY or own["end"] > WORSE * twin["end"] > 0


def mark(file: Path) -> str:
    """Of what runs: what is known of a program may be written otherwise."""
    text = file.read_text(encoding="utf-8").partition("\nEXPECTED")[0]
    return hashlib.sha256(text.encode()).hexdigest()[:12]
