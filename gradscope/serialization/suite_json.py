"""What became of the targets of a run, and the whole of it as versioned JSON, and back.

Each report in it is the object of `recording`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gradscope.records import NotJudged, Outcome, Policy, Report, Suite
from gradscope.records.options import Task
from gradscope.serialization import atomic_write, report_json
from gradscope.serialization.codec import Mismatch, decoder, encode


def outcome_of(task: Task, answer: Report | NotJudged) -> Outcome:
    """What became of a task; its report is called as the task is."""
    policy = Policy(task.fail_on)
    if isinstance(answer, NotJudged):
        return Outcome(task.target, not_judged=answer, policy=policy, path=task.other_name)
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
                "not_judged": encode(outcome.not_judged),
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
    if not isinstance(data["targets"], list):
        raise Mismatch('"targets" is not a list')
    return Suite(tuple(_outcome(entry, f"targets[{place}]") for place, entry in enumerate(data["targets"])))


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
    if not isinstance(entry, Mapping) or not {"target", "fail_on", "report", "not_judged"} <= entry.keys():
        raise Mismatch(f'"{where}" is not a target')
    report, trouble = entry["report"], entry["not_judged"]
    return Outcome(
        target=decoder(str)(entry["target"], f"{where}.target"),
        report=None if report is None else report_json.from_json(report),
        not_judged=None if trouble is None else decoder(NotJudged)(trouble, f"{where}.not_judged"),
        policy=Policy(decoder(tuple[str, ...])(entry["fail_on"], f"{where}.fail_on")),
        path=decoder(str)(entry.get("path", ""), f"{where}.path"),
    )
