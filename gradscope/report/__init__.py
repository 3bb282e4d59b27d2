"""The formats a report can be shown in: one file each, imported only when asked for."""

from __future__ import annotations

import importlib
from typing import cast

from gradscope.report.shared.base import Reporter, View as View

FORMATS = {
    "terminal": "gradscope.report.terminal.reporter",
    "json": "gradscope.report.json",
    "markdown": "gradscope.report.markdown.reporter",
    "html": "gradscope.report.html",
    "sarif": "gradscope.report.ci.sarif",
    "junit": "gradscope.report.ci.junit",
    "github": "gradscope.report.ci.github",
    "gitlab": "gradscope.report.ci.gitlab",
    "agent": "gradscope.report.ci.agent",
    "svg": "gradscope.report.terminal.svg",
}
"""To add a format, write its file with a `REPORTER` in it and name it here."""


def reporter(name: str) -> Reporter:
    """The reporter of a name in `FORMATS`."""
    return cast(Reporter, importlib.import_module(FORMATS[name]).REPORTER)
