"""The page that GitHub Actions shows below a job: Markdown, added to the file that the runner names."""

from __future__ import annotations

import io
import os
from pathlib import Path

from gradscope.cli import screen
from gradscope.records import Suite
from gradscope.report import View, reporter

VARIABLE = "GITHUB_STEP_SUMMARY"
LARGEST = 1024 * 1024
"""Bytes of all that a step writes; the runner refuses the whole of a larger one."""


def append(suite: Suite, view: View) -> None:
    """Nothing outside of GitHub Actions. A summary that cannot be written does not change the verdict."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    page = io.StringIO()
    reporter("markdown").render(suite, page, view)
    data = f"{page.getvalue()}\n".encode("utf-8", "backslashreplace")
    try:
        if Path(path).exists() and Path(path).stat().st_size + len(data) > LARGEST:
            screen.tell(
                f"no step summary: with what the step wrote before, it would be larger than {LARGEST} bytes"
            )
            return
        with open(path, "ab") as file:
            file.write(data)
    except OSError as error:
        screen.tell(f"no step summary: {VARIABLE} names a file that cannot be written ({error.strerror})")
