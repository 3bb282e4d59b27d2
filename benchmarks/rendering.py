"""Seconds to write a report of 2,000 layers and 200 findings in every format, without JAX.

Each format in a process of its own, as `gradscope report RUN.json` would have it: what is timed is importing
the reporter and writing, not reading the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from gradscope.report import FORMATS

LAYERS = 2000
SICK = 10
"""Every tenth layer has a finding."""
RUNS = 3

ONE = """
import io, json, sys, time
from gradscope.records import Suite
from gradscope.report import View, reporter
from benchmarks.rendering import large
suite = Suite.of(large())
page = io.StringIO()
start = time.perf_counter()
reporter(sys.argv[1]).render(suite, page, View(width=120, show_all=True))
spent = time.perf_counter() - start
print(json.dumps([spent, len(page.getvalue().encode()), "jax" in sys.modules]))
"""


def large(layers: int = LAYERS) -> Any:
    """A report as a deep network gives it, with the numbers of every layer its own."""
    from dataclasses import replace

    from gradscope.rules import all_rules
    from tests.report.canned import deep, layer, parameter, report

    made = tuple(layer(f"encoder.blocks[{i}].attention.query", 0.3 * 0.995**i) for i in range(layers))
    (finding, *_) = deep().findings
    findings = tuple(replace(finding, layer=each.name) for each in made[::SICK])
    whole = report("model.py", made, findings)
    leaves = tuple(parameter(of, leaf) for of in made for leaf in ("w", "b"))
    flow = replace(whole.flow, parameters=leaves)
    return replace(whole, flow=flow, rules=tuple(rule.name for rule in all_rules()))


def rows() -> list[dict[str, Any]]:
    return [row(name) for name in FORMATS]


def row(name: str) -> dict[str, Any]:
    spent, size, jax = min(measured(name) for _ in range(RUNS))
    if jax:
        raise RuntimeError(f"{name} imports JAX")
    return {"format": name, "seconds": spent, "kB": round(size / 1000)}


def measured(name: str) -> list[Any]:
    done = subprocess.run([sys.executable, "-c", ONE, name], capture_output=True, text=True, check=True)
    answer: list[Any] = json.loads(done.stdout)
    return answer
