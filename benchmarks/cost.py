"""Operations counted by `gradscope cost` against XLA's own count, and the parts against the whole.

`python -m benchmarks cost` makes the table of docs/cost.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradscope
from benchmarks.memory import FILES, ROOT
from benchmarks.models import ALL
from gradscope.load.target import load
from gradscope.records import Cost
from gradscope.records.options import LoadOptions
from gradscope.report.shared import units


def rows() -> Iterator[dict[str, Any]]:
    for make in ALL:
        model = make()
        yield row(
            model.name, gradscope.cost(model.loss_fn, model.params, model.batch, growth=False, whole=True)
        )
    for name, file in FILES.items():
        problem = load(str(ROOT / file), LoadOptions())
        yield row(name, gradscope.cost(problem, growth=False, whole=True))


def row(name: str, report: gradscope.Report) -> dict[str, Any]:
    found: Cost | None = report.cost
    assert found is not None
    assert found.compiled is not None
    assert found.whole_s
    parts = found.parts_s
    return {
        "model": name,
        "forward": units.operations(found.forward),
        "backward": units.operations(found.backward),
        "beside XLA's count before it optimizes": f"{100 * (found.compiled.given_difference or 0):+.2f} %",
        "after": f"{100 * (found.compiled.difference or 0):+.1f} %",
        "whole": units.brief(found.whole_s),
        "parts": f"{found.parts}",
        "parts / whole": "-" if parts is None else f"{parts / found.whole_s:.2f}",
    }
