"""`--format github` inside GitHub Actions."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.cli.step_summary import LARGEST, VARIABLE
from gradscope.serialization import report_json
from tests.cli.conftest import Run
from tests.report.canned import deep
from tests.report.pages import shown


@pytest.fixture
def saved(tmp_path: Path) -> str:
    path = str(tmp_path / "run.json")
    report_json.save(deep(), path)
    return path


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "summary.md"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


@pytest.mark.parametrize("asked", [("--format", "github"), ("--report", "github=notes.txt")])
def test_the_report_is_added_to_what_the_step_wrote(
    run: Run, saved: str, summary: Path, asked: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(summary.parent)
    summary.write_text("before\n", encoding="utf-8")
    assert run("report", saved, *asked).code == 1
    assert summary.read_text(encoding="utf-8") == f"before\n{shown(deep(), 'markdown')}\n"


def test_another_format_writes_none(run: Run, saved: str, summary: Path) -> None:
    run("report", saved, "--format", "markdown")
    assert not summary.exists()


def test_outside_of_github_actions_there_is_none(
    run: Run, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    result = run("report", saved, "--format", "github")
    assert (result.code, result.err) == (1, "")
    assert result.out == shown(deep(), "github")


def test_a_summary_that_would_be_too_large_is_left_as_it_was(run: Run, saved: str, summary: Path) -> None:
    summary.write_bytes(b"x" * (LARGEST - 10))
    result = run("report", saved, "--format", "github")
    assert result.code == 1
    assert "no step summary" in result.err
    assert summary.stat().st_size == LARGEST - 10


def test_a_summary_that_cannot_be_written_changes_no_verdict(run: Run, saved: str, summary: Path) -> None:
    summary.mkdir()
    result = run("report", saved, "--format", "github")
    assert result.code == 1
    assert VARIABLE in result.err
