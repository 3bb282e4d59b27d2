"""The report as JSON, the format of `docs/json.md`."""

from __future__ import annotations

from typing import TextIO

from gradscope import recording
from gradscope.records import Report
from gradscope.report.base import View


class JsonReporter:
    def render(self, report: Report, out: TextIO, view: View) -> None:
        out.write(recording.dumps(report))


REPORTER = JsonReporter()
