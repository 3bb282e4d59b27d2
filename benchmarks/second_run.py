"""A first run of a target against a second of the same, unchanged: what the compilation cache gains.

In turn, each pair with a cache folder of its own, in processes as a run of several targets has them. Seconds
are those of the report: without the import of JAX, which both pay.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from gradscope.processes import run
from gradscope.records import Timing
from gradscope.records.options import Task

HERE = Path(__file__).parent
FILES = {
    "MLP, 3 x 64": HERE / "files" / "mlp.py",
    "MLP, 10 x sigmoid": HERE.parent / "sample_models" / "deep_sigmoid_mlp.py",
    "transformer, 4 layers": HERE.parent / "sample_models" / "small_transformer.py",
    "transformer, 12 layers": HERE / "files" / "transformer.py",
}
ROUNDS = 3


def pair(file: Path) -> tuple[Timing, Timing]:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        return timing(file), timing(file)


def timing(file: Path) -> Timing:
    report = run([Task(file.name, str(file))], jobs=1, progress=lambda _: None).outcomes[0].report
    assert report is not None
    return report.timing


def total(spent: Timing) -> float:
    return spent.load_s + spent.trace_s + spent.compile_s + spent.run_s


def measure(name: str) -> dict[str, Any]:
    pairs = [pair(FILES[name]) for _ in range(ROUNDS)]
    return {
        "target": name,
        "first_s": statistics.median(total(first) for first, _ in pairs),
        "second_s": statistics.median(total(second) for _, second in pairs),
        "ratio": statistics.median(total(second) / total(first) for first, second in pairs),
        "load_ratio": statistics.median(second.load_s / first.load_s for first, second in pairs),
        "compile_ratio": statistics.median(second.compile_s / first.compile_s for first, second in pairs),
    }


def rows() -> list[dict[str, Any]]:
    return [measure(name) for name in FILES]
