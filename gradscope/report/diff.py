"""The formats in which what changed between two runs can be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from gradscope.records.diff import SuiteChanges
from gradscope.report.markdown.diff import render as render_markdown
from gradscope.report.shared.base import View
from gradscope.report.terminal.diff import render as render_terminal
from gradscope.serialization import diff_json


def render_json(found: SuiteChanges, out: TextIO, view: View) -> None:
    del view
    out.write(diff_json.dumps(found))


RENDERERS: dict[str, Callable[[SuiteChanges, TextIO, View], None]] = {
    "terminal": render_terminal,
    "json": render_json,
    "markdown": render_markdown,
}
