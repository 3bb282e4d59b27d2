"""`gradscope.load_report`, `gradscope.diff` and `Report.save`: saved runs, without JAX."""

from __future__ import annotations

import os

from gradscope.changes.compare import changes
from gradscope.errors import GradscopeError
from gradscope.recording.file import is_recording
from gradscope.records import Policy, Report, Suite
from gradscope.records.diff import Changes
from gradscope.runs.monitor import judged_recording
from gradscope.serialization import suite_json


def load_report(path: str | os.PathLike[str]) -> Report:
    """The report of one target that `Report.save`, `--save` or `--format json` wrote, or of a recording.

    Raises `GradscopeError` where the file cannot be read, is no report or holds several targets.
    """
    name = os.fspath(path)
    if is_recording(name):
        return judged_recording(name)
    suite = suite_json.load(name, Policy())
    if suite.only is None:
        raise GradscopeError(
            f'"{name}" does not hold one report.',
            why=f"It is a run of {len(suite.outcomes)} targets, or one that could not be judged.",
            fix=f"Show it with `gradscope report {name}`.",
            slug="unreadable-report",
        )
    return suite.only


def save(report: Report, path: str) -> None:
    """For `Report.save`."""
    suite_json.save(Suite.of(report), path)


def diff(old: Report | str | os.PathLike[str], new: Report | str | os.PathLike[str]) -> Changes:
    """What changed between two reports, or two files of reports: layers by name, findings by rule and layer.

    `print` shows what `gradscope diff` shows; `new_findings`, `gone_findings` and `layers` have the parts.
    """
    before, after = (each if isinstance(each, Report) else load_report(each) for each in (old, new))
    return changes(before, after)
