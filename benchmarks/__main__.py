"""`python -m benchmarks [PART ...]`: the tables of docs/performance.md, as Markdown."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

PARTS = {
    "flow": "flow_pass",
    "depth": "depth",
    "processes": "processes",
    "training": "short_training",
    "monitored": "monitored_step",
    "targets": "targets",
    "second_run": "second_run",
    "rendering": "rendering",
    "origin": "origin",
    "optimizers": "optimizers",
    "verify": "verify",
    "verify_time": "verify_time",
    "stability": "stability",
    "truth": "truth",
    "accuracy": "accuracy",
    "remedies": "remedies",
    "memory": "memory",
    "cost": "cost",
    "scale": "scale",
}


def table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(shown(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main(wanted: list[str]) -> None:
    for part in wanted or PARTS:
        print(f"\n## {part}\n")
        print(table(list(import_module(f"benchmarks.{PARTS[part]}").rows())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
