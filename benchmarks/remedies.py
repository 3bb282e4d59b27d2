"""`python -m benchmarks remedies`: what `gradscope fix` makes of the sick programs, as docs/fixed.md.

Each file is fixed in a process of its own. The edit that it prints first is written to a copy, and a plain
loop of optax trains that for 400 steps (`benchmarks/truth.py`). It *trains* where it gains half of what the
healthy twin gains in as many steps, or takes half of its own loss away where there is no twin. It takes about
40 minutes.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.processes import gradscope
from gradscope.remedies.source_code import patched
from tests.samples.expected import EXPECTED
from tests.zoo.programs import ROOT, Program, programs
from tests.zoo.truth import OF_THE_WAY, measured

PAGE = ROOT / "docs/fixed.md"
TIMEOUT = 600
SAMPLES = ROOT / "sample_models"

HEAD = """\
<!-- Written by `python -m benchmarks remedies`: edit benchmarks/remedies.py. -->
# What `gradscope fix` makes of sick programs

The sick programs of `tests/zoo/` and of `sample_models/`, each with the first edit that `gradscope fix`
prints, by its default options. Every edit was written to a copy, and a plain loop trained that for 400 steps,
four times as many as `fix` takes. *Trains* means: it gains half and more of what the healthy twin gains in as
many steps; of programs without a twin, half of the loss or more is gone. *Random search*: whether the best of
as many random draws of learning rate and scale of the weights ended as low in the trials. The programs were
there before the remedies, and which remedies exist was decided while looking at them, at those that are held
out (`tests/zoo/held_out.txt`), too: the shares are no estimate of what they are on yours.
"""


def rows() -> Iterator[dict[str, Any]]:
    known = measured()
    found = []
    for one in programs():
        if one.fault:
            found.append(
                _row(
                    one.name,
                    one.file,
                    one.held_out,
                    lambda start, end, one=one: _trains(one, known, start, end),
                )
            )
            print(found[-1], file=sys.stderr, flush=True)
    for name, expected in EXPECTED.items():
        if expected.verdict == "sick" and not expected.verified:
            found.append(_row(name, SAMPLES / name, False, _half))
            print(found[-1], file=sys.stderr, flush=True)
    PAGE.write_text(page(found), encoding="utf-8")
    yield from summary(found)


def _row(name: str, file: Path, held_out: bool, trains: Any) -> dict[str, Any]:
    report = _fixed(file)
    remedies = report.get("remedies") or {}
    tried = remedies.get("tried") or []
    best = tried[0] if tried and tried[0]["effect"] in ("helps", "cures") else None
    row = {
        "program": name,
        "set": "held out" if held_out else "fitted",
        "remedy": "none helps" if tried else "none tried",
    }
    if not report:
        row["remedy"] = "it could not be fixed in time"
    row |= {"as it is": "", "with it": "", "trains": "no", "random search": ""}
    if best is None:
        return row
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        copy.write_text(patched(file.read_text(encoding="utf-8"), best["diff"]), encoding="utf-8")
        plain, edited = _train(file), _train(copy)
    start, end = edited["start"], edited["end"]
    beats = best["beats_chance"]
    return {
        **row,
        "remedy": best["what"],
        "as it is": _short(plain),
        "with it": _short(edited),
        "trains": "yes" if "error" not in edited and math.isfinite(end) and trains(start, end) else "no",
        "random search": "another loss" if beats is None else "worse" if beats else "as good",
    }


def _fixed(file: Path) -> dict[str, Any]:
    command = gradscope("fix", str(file.relative_to(ROOT)), "--format", "json", "--fail-on", "never")
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, timeout=TIMEOUT
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return {}
    return found


def _train(file: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.truth", str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    lines = done.stdout.decode().splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {"start": 0.0, "end": 0.0, "error": "died"}
    return found


def _trains(one: Program, known: dict[str, dict[str, Any]], start: float, end: float) -> bool:
    if one.twin is None:
        return _half(start, end)
    twin = known[f"tests/zoo/healthy/{one.twin}.py"]
    return bool((twin["start"] - end) / (twin["start"] - twin["end"]) >= OF_THE_WAY)


def _half(start: float, end: float) -> bool:
    return end <= start - OF_THE_WAY * abs(start)


def _short(found: dict[str, Any]) -> str:
    return "" if "error" in found else f"{found['start']:.3g} to {found['end']:.3g}"


def summary(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    samples = [row for row in found if row["program"].endswith(".py")]
    zoo = [row for row in found if row not in samples]
    for name, part in (
        ("zoo, fitted", [row for row in zoo if row["set"] == "fitted"]),
        ("zoo, held out", [row for row in zoo if row["set"] == "held out"]),
        ("zoo", zoo),
        ("samples", samples),
    ):
        trains = [row for row in part if row["trains"] == "yes"]
        chance = [row for row in trains if row["random search"] == "as good"]
        yield {
            "": name,
            "programs": len(part),
            "a remedy helps": sum(row["with it"] != "" for row in part),
            "trains with it": f"{len(trains)} ({len(trains) / max(len(part), 1):.0%})",
            "random search as good": len(chance),
        }


def page(found: list[dict[str, Any]]) -> str:
    from benchmarks.__main__ import table

    return f"{HEAD}\n{table(list(summary(found)))}\n\n{table(found)}\n"
