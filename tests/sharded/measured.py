"""In a process of its own with 8 CPU devices: commands on the programs, as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradscope.processes import prepare

PROGRAMS = str(Path(__file__).with_name("programs.py"))


def check(target: str) -> Any:
    from gradscope.records.options import CheckOptions
    from gradscope.runs.check import check

    return check(target, None, CheckOptions(steps=3))


def verify(target: str) -> Any:
    from gradscope.runs.verify import verify

    return verify(target)


def monitor(target: str) -> Any:
    from gradscope.records.options import MonitorOptions
    from gradscope.runs.monitor import monitor

    return monitor(target, None, MonitorOptions(steps=8))


def memory(target: str) -> Any:
    from gradscope.runs.memory import memory

    return memory(target)


def curvature(target: str) -> Any:
    from gradscope.records.options import CurvatureOptions
    from gradscope.runs.curvature import curvature

    return curvature(target, None, CurvatureOptions(budget_s=60, layers=False))


def optimizers(target: str) -> Any:
    from gradscope.records.options import CompareOptions
    from gradscope.runs.optimizers import compare_optimizers

    asked = CompareOptions(("sgd", "adam"), steps=8, seeds=1, grid=3, budget_s=20)
    return compare_optimizers(target, None, asked)


COMMANDS: dict[str, Callable[[str], Any]] = {
    each.__name__: each for each in (check, verify, monitor, memory, curvature, optimizers)
}


def main(asked: list[str]) -> None:
    """Each of `asked` is `command:program:devices`."""
    prepare.prepare_process()
    from gradscope.serialization import report_json

    for each in asked:
        command, program, devices = each.split(":")
        os.environ["DEVICES"] = devices
        report = COMMANDS[command](f"{PROGRAMS}:{program}")
        print(json.dumps({each: report_json.to_json(report)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
