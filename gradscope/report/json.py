"""The run as JSON, the format of `docs/json.md`."""

from __future__ import annotations

from typing import TextIO

from gradscope.records import Suite
from gradscope.report.shared.base import View
from gradscope.serialization import suite_json


class JsonReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        out.write(suite_json.dumps(suite))


REPORTER = JsonReporter()
