"""What a target's process is told and what it answers: lines of JSON, never pickles of a user's objects."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from gradscope.records import NotJudged, Report
from gradscope.records.options import Task
from gradscope.serialization import report_json
from gradscope.serialization.codec import decoder, encode

Answer = Report | NotJudged


def asking(task: Task) -> bytes:
    return _line(dataclasses.asdict(task))


def task_of(line: bytes) -> Task:
    task: Task = decoder(Task)(json.loads(line), "the task")
    return task


def stage(name: str) -> bytes:
    return _line({"stage": name})


def answering(answer: Answer) -> bytes:
    if isinstance(answer, Report):
        return _line({"report": report_json.to_json(answer)})
    return _line({"not_judged": encode(answer)})


def read(line: bytes) -> str | Answer:
    """A stage or the answer. Raises `ValueError`, `Mismatch` or `GradscopeError` on anything else."""
    message = json.loads(line)
    if "stage" in message:
        return str(message["stage"])
    if "report" in message:
        return report_json.from_json(message["report"])
    answer: NotJudged = decoder(NotJudged)(message["not_judged"], "the answer")
    return answer


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
