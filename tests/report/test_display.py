"""A report that shows itself: in a notebook, and where it is printed."""

from __future__ import annotations

import pytest

from gradscope.report.html import fragment
from tests.report.canned import broken, deep
from tests.report.pages import shown


def test_a_printed_report_is_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    assert str(deep()) == shown(deep(), width=90).rstrip("\n")


def test_a_notebook_gets_the_page_and_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    report = broken()
    assert report._repr_html_() == fragment(report)
    assert report._repr_mimebundle_() == {"text/html": fragment(report), "text/plain": str(report)}
