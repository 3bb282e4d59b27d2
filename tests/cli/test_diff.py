"""`gradscope diff`: exit codes, formats and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradscope.records import Outcome, Suite
from gradscope.serialization import report_json, suite_json
from tests.cli.conftest import Run
from tests.report.canned import deep, healthy
from tests.report.test_diff import earlier, later


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    paths = str(tmp_path / "old.json"), str(tmp_path / "new.json")
    report_json.save(earlier(), paths[0])
    report_json.save(later(), paths[1])
    return paths


def test_the_command_informs_and_fails_only_where_asked(run: Run, runs: tuple[str, str]) -> None:
    result = run("diff", *runs)
    assert result.code == 0
    assert "step9000.py" in result.out
    assert run("diff", *runs, "--fail-on", "error").code == 1
    assert run("diff", *runs, "--fail-on", "exploding-gradient").code == 1
    assert run("diff", *runs, "--fail-on", "non-finite").code == 0, "it was there before"
    assert run("diff", *reversed(runs), "--fail-on", "zero-gradient").code == 1
    assert json.loads(run("diff", *runs, "--format", "json").out)["format"] == 2


def test_the_command_refuses_what_it_cannot_read_or_write(
    run: Run, runs: tuple[str, str], tmp_path: Path
) -> None:
    for arguments, said in (
        ((runs[0], str(tmp_path / "none.json")), "cannot be read"),
        ((*runs, "--format", "sarif"), "terminal, json, markdown"),
        ((*runs, "--output", runs[0]), "overwrite an input of this command"),
        ((*runs, "--output", runs[1]), "overwrite an input of this command"),
        ((*runs, "--fail-on", "exploding"), "exploding-gradient"),
    ):
        result = run("diff", *arguments)
        assert (result.code, result.out) == (2, ""), arguments
        assert said in " ".join(result.err.split())
    target = tmp_path / "changes.md"
    assert run("diff", *runs, "--format", "markdown", "--output", str(target)).code == 0
    assert target.read_text().startswith("###")


def test_saved_runs_of_several_targets_fail_on_what_is_new(run: Run, tmp_path: Path) -> None:
    old, new = str(tmp_path / "old.json"), str(tmp_path / "new.json")
    suite_json.save(Suite((Outcome("a.py", healthy()),)), old)
    suite_json.save(Suite((Outcome("a.py", healthy()), Outcome("b.py", deep()))), new)
    assert run("diff", old, old, "--fail-on", "note").code == 0
    result = run("diff", old, new, "--fail-on", "error")
    assert (result.code, "Only in the new run: b.py." in result.out) == (1, True)
    assert run("diff", new, old, "--fail-on", "error").code == 0
