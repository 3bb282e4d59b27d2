"""What a user's file does to the process of the command, and that the result is none the worse for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradscope import baseline
from tests.cli.conftest import Pipeline, Run


def test_files_are_written_where_the_command_was_called(
    run: Run, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("model.py").touch()
    pipeline.does = lambda: os.chdir(tmp_path / "elsewhere")
    result = run(
        "check",
        *("model.py", "--output", "out.txt", "--report", "junit=out.xml", "--save", "run.json"),
        *("--write-baseline", "known.json"),
    )
    assert result.code == 0, result.err
    assert not list((tmp_path / "elsewhere").iterdir())
    assert {"out.txt", "out.xml", "run.json", "known.json"} <= {file.name for file in Path().iterdir()}
    assert list(baseline.load("known.json")) == ["model.py"]
