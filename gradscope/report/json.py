"""The run as JSON, the format of `docs/json.md`."""

from __future__ import annotations

from typing import TextIO

from gradscope import suites
from gradscope.records import Suite
from gradscope.report.base import View


class JsonReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        out.write(suites.dumps(suite))


REPORTER = JsonReporter()
