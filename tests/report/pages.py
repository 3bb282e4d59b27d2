"""Runs as text, and the golden files they are compared with; `UPDATE_GOLDEN=1` writes those anew."""

from __future__ import annotations

import io
import os
from pathlib import Path

from gradscope.records import Report, Suite
from gradscope.report import View, reporter

GOLDEN = Path(__file__).parent / "golden"


def shown(run: Report | Suite, name: str = "terminal", encoding: str = "utf-8", **view: object) -> str:
    page = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    suite = run if isinstance(run, Suite) else Suite.of(run)
    reporter(name).render(suite, page, View(**view))  # type: ignore[arg-type]
    page.seek(0)
    return page.read()


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
