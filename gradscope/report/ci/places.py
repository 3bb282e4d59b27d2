"""What formats for machines ask of a finding: a file and a line for each, and by what it is known again."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from gradscope.records import Finding, Outcome, Source, TargetError
from gradscope.report.shared.glyphs import visible

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Placed:
    """A finding with the target it belongs to, where it points, and what tells it from all others."""

    outcome: Outcome
    finding: Finding
    source: Source
    key: tuple[str, ...]
    """Target, rule, layer, parameter and the text of the line: no number and no place of a line, so that it
    stays when code is moved. The same in which a baseline finds it again."""
    repeat: int
    """Counts findings of one key, from 1."""

    @property
    def fingerprint(self) -> str:
        """Unique within a run."""
        return hashlib.sha256("\0".join((*self.key, str(self.repeat))).encode("utf-8", "replace")).hexdigest()

    @property
    def where(self) -> str:
        """The layer or parameter; empty where it is of neither."""
        return self.finding.layer or self.finding.parameter or ""

    @property
    def message(self) -> str:
        """What is found, with its layer where the text does not name it: most systems show nothing else."""
        said = self.finding.message
        return one_line(*([f"{self.where}:"] if self.where and self.where not in said else []), said)


def placed(outcome: Outcome) -> Iterator[Placed]:
    """Every finding of a target. One without a line of its own points to the first line of the target."""
    report = outcome.report
    seen: Counter[tuple[str, ...]] = Counter()
    for finding in report.findings if report else ():
        source = finding.source or Source(file_of(outcome), 1)
        text = finding.source.text if finding.source else ""
        key = (outcome.target, finding.rule, finding.layer or "", finding.parameter or "", text)
        seen[key] += 1
        yield Placed(outcome, finding, source, key, seen[key])


def file_of(outcome: Outcome) -> str:
    """The file of `model.py:name` or `package.module:name`; of a call from Python, that of a layer."""
    loaded = outcome.path or outcome.target
    head, colon, name = loaded.rpartition(":")
    where = head if colon and name.isidentifier() else loaded
    if where.endswith(".py") or "/" in where or "\\" in where:
        return where
    layers = outcome.report.flow.layers if outcome.report and outcome.report.flow else ()
    known = next((layer.source.file for layer in layers if layer.source is not None), None)
    if _MODULE.fullmatch(where) and (colon or "." in where or known is None):
        return where.replace(".", "/") + ".py"
    return known or where or "model.py"


def line_of(source: Source) -> int:
    return max(1, source.line)


def one_line(*parts: str) -> str:
    """Sentences as one line in which nothing of a user's name acts."""
    return " ".join(" ".join(visible(part).split()) for part in parts if part)


def error_text(error: TargetError) -> str:
    return one_line(error.what, error.why, error.fix)


def gaps(outcome: Outcome) -> list[str]:
    """What was left out of a report, one line each."""
    report = outcome.report
    entries = (*report.skipped, *report.unseen) if report else ()
    return [one_line(f"not judged: {entry.what}: {entry.reason}") for entry in entries]


def remarks_of(outcome: Outcome) -> list[str]:
    """What a log says beside the findings: the notes, what the verdict does not speak of, and the gaps."""
    report = outcome.report
    if report is None:
        return []
    unexamined = [", ".join(report.unexamined)] if report.unexamined else []
    return [*(one_line(f"note: {note}") for note in report.notes), *unexamined, *gaps(outcome)]
