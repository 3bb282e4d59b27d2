"""The short training: whole processes of `gradscope check` against `check --steps 0`, with an empty cache.

Pairs run in turn. `train_s` is what the report says of the short training itself, its compiling included.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.processes import HERE, gradscope, seconds

ROUNDS = 3
FILES = {"mlp": {}, "transformer": {}, "deep_transformer": {"LAYERS": "12"}}


def rows() -> Iterator[dict[str, Any]]:
    for name, environment in FILES.items():
        with_it, without, steps, training = [], [], 0, []
        for _ in range(ROUNDS):
            for spent, more in ((without, ("--steps", "0")), (with_it, ())):
                with tempfile.TemporaryDirectory() as cache:
                    report = Path(cache) / "report.json"
                    file = str(HERE / "files" / f"{name}.py")
                    command = gradscope("check", file, *more, "--format", "json", "--output", str(report))
                    spent.append(seconds(command, XDG_CACHE_HOME=cache, **environment))
                    found: dict[str, Any] = json.loads(report.read_text())
            training.append(found["timing"]["train_s"])
            steps = found["training"]["steps"] if found["training"] else 0
        yield {
            "file": name,
            "steps": steps,
            "without_s": statistics.median(without),
            "with_s": statistics.median(with_it),
            "train_s": statistics.median(training),
            "ratio": statistics.median(a / b for a, b in zip(with_it, without, strict=True)),
        }
