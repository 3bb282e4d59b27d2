"""What a target's process is told and what it answers: lines of JSON, never pickles of a user's objects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from gradscope.gate.baseline_file import Baseline
from gradscope.processes.beats import Beat, decoded
from gradscope.records import Report, TargetError
from gradscope.records.options import Peers, Task
from gradscope.serialization import report_json
from gradscope.serialization.codec import decoder, encode

Answer = Report | TargetError


@dataclass(frozen=True, slots=True)
class Asked:
    """A task, with the baseline that it names where that was read already."""

    task: Task
    baseline: Baseline | None = None
    peers: Peers | None = None
    """The processes that measure it together, as this one is told."""


def asking(asked: Asked) -> bytes:
    return _line(asdict(asked))


def asked_in(line: bytes) -> Asked:
    asked: Asked = decoder(Asked)(json.loads(line), "what is asked")
    return asked


def stage(name: str) -> bytes:
    return _line({"stage": name})


def beating(beats: Iterable[Beat]) -> bytes:
    return _line({"beats": [asdict(beat) for beat in beats]})


def answering(answer: Answer) -> bytes:
    if isinstance(answer, Report):
        return _line({"report": report_json.to_json(answer)})
    return _line({"error": encode(answer)})


def read(line: bytes) -> str | list[Beat] | Answer:
    """A stage, beats or the answer. Raises `ValueError`, `Mismatch` or `GradscopeError` on anything else."""
    message = json.loads(line)
    if "stage" in message:
        return str(message["stage"])
    if "beats" in message:
        return [decoded(beat) for beat in message["beats"]]
    if "report" in message:
        return report_json.from_json(message["report"])
    answer: TargetError = decoder(TargetError)(message["error"], "the answer")
    return answer


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
