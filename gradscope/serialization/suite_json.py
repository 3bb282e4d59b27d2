"""What became of the targets of a run, and the whole of it as versioned JSON, and back.

Each report in it is the object of `report_json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gradscope.records import Outcome, Policy, Report, Suite, TargetError
from gradscope.records.options import Task
from gradscope.serialization import atomic_write, format_1, report_json
from gradscope.serialization.codec import Mismatch, decoder, encode


def outcome_of(task: Task, answer: Report | TargetError) -> Outcome:
    """What became of a task; its report is called as the task is."""
    policy = Policy(task.fail_on)
    if isinstance(answer, TargetError):
        return Outcome(task.target, error=answer, policy=policy, path=task.other_name)
    report = replace(answer, target=task.target) if task.other_name else answer
    return Outcome(task.target, report, policy=policy, path=task.other_name)


def to_json(suite: Suite) -> dict[str, Any]:
    """The object of one report where there is one target, asked for by itself; else the one around them."""
    if suite.only is not None:
        (outcome,) = suite.outcomes
        return {**report_json.to_json(suite.only), "fail_on": list(outcome.policy.fail_on)}
    return {
        "format": report_json.FORMAT,
        "verdict": suite.verdict,
        "targets": [
            {
                "target": outcome.target,
                "fail_on": list(outcome.policy.fail_on),
                "report": None if outcome.report is None else report_json.to_json(outcome.report),
                "error": encode(outcome.error),
                "path": outcome.path,
            }
            for outcome in suite.outcomes
        ],
    }


def from_json(data: Any, policy: Policy) -> Suite:
    """What `to_json` wrote; `policy` judges a report that does not say what it is judged by."""
    if not (isinstance(data, Mapping) and "targets" in data):
        report = report_json.from_json(data)
        if "fail_on" in data:
            policy = Policy(decoder(tuple[str, ...])(data["fail_on"], "fail_on"))
        return Suite.of(report, policy)
    report_json.check_version(data)
    targets = data["targets"]
    if not isinstance(targets, list):
        raise Mismatch('"targets" is not a list')
    old = data["format"] == format_1.VERSION
    entries = [format_1.target(each) if old and isinstance(each, Mapping) else each for each in targets]
    return Suite(tuple(_outcome(entry, f"targets[{place}]") for place, entry in enumerate(entries)))


def dumps(suite: Suite) -> str:
    return json.dumps(to_json(suite), indent=1, allow_nan=False) + "\n"


def loads(text: str, policy: Policy, name: str = "the report") -> Suite:
    """`name` is what an error calls the text."""
    return report_json.read(text, name, lambda data: from_json(data, policy))


def load(path: str, policy: Policy) -> Suite:
    return loads(report_json.text_of(path), policy, path)


def save(suite: Suite, path: str) -> None:
    atomic_write.write_whole(path, dumps(suite))


def _outcome(entry: Any, where: str) -> Outcome:
    if not isinstance(entry, Mapping) or not {"target", "fail_on", "report", "error"} <= entry.keys():
        raise Mismatch(f'"{where}" is not a target')
    report, error = entry["report"], entry["error"]
    return Outcome(
        target=decoder(str)(entry["target"], f"{where}.target"),
        report=None if report is None else report_json.from_json(report),
        error=None if error is None else decoder(TargetError)(error, f"{where}.error"),
        policy=Policy(decoder(tuple[str, ...])(entry["fail_on"], f"{where}.fail_on")),
        path=decoder(str)(entry.get("path", ""), f"{where}.path"),
    )
