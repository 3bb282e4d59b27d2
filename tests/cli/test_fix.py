"""`gradscope fix` as a user runs it: what it prints, what it writes, and where it does not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import gradscope.runs.check
import gradscope.runs.fix
from gradscope.processes import prepare
from gradscope.records import Report
from gradscope.records.options import FixOptions
from gradscope.remedies.source_code import diff
from tests.cli.conftest import Run
from tests.report.canned import healthy, repaired

BEFORE, AFTER = "rate = 1.0\nloss_fn = 1\n", "rate = 0.1\nloss_fn = 1\n"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[FixOptions]:
    """The file `model.py`, whose trials are told instead of made; and what was asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare, "prepare_process", lambda: None)
    Path("model.py").write_text(BEFORE)
    found: list[FixOptions] = []

    def fix(target: str, loading: object, options: FixOptions, *, progress: Callable[[str], None]) -> Report:
        found.append(options)
        return told()

    monkeypatch.setattr(gradscope.runs.fix, "fix", fix)
    monkeypatch.setattr(gradscope.runs.check, "check", lambda *_, **__: replace(healthy(), target="model.py"))
    return found


def told() -> Report:
    report = repaired()
    assert report.remedies is not None
    first = replace(report.remedies.tried[0], diff=diff("model.py", BEFORE, AFTER))
    return replace(report, remedies=replace(report.remedies, tried=(first,)))


def git(*arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def committed() -> None:
    git("init", "-q")
    git("add", "model.py")
    git("commit", "-qm", "x")


def test_the_edit_is_shown_and_the_file_is_left(run: Run, asked: list[FixOptions]) -> None:
    result = run("fix", "model.py", "--steps", "30", "--seeds", "2", "--budget", "2m", "--exhaustive")
    assert result.code == 1
    assert "-rate = 1.0\n+rate = 0.1\n" in result.out
    assert Path("model.py").read_text() == BEFORE
    assert asked == [FixOptions(30, 2, True, 120.0)]


def test_diff_prints_what_git_and_patch_take(run: Run, asked: list[FixOptions]) -> None:
    committed()
    result = run("fix", "model.py", "--diff")
    assert result.code == 0
    subprocess.run(["git", "apply"], input=result.out, text=True, check=True)
    assert Path("model.py").read_text() == AFTER


def test_patch_takes_a_name_with_spaces(tmp_path: Path) -> None:
    (tmp_path / "é [1].py").write_text(BEFORE)
    shown = diff("é [1].py", BEFORE, AFTER)
    for tool in (["patch", "-p1"], ["git", "apply", "-R"]):
        subprocess.run(tool, input=shown, text=True, check=True, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "é [1].py").read_text() == BEFORE


def test_a_file_outside_of_the_working_directory_is_named_from_where_both_are(
    run: Run, asked: list[FixOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed()
    report = told()
    assert report.remedies is not None
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    tried = (replace(report.remedies.tried[0], diff=diff("../model.py", BEFORE, AFTER)),)
    outside = replace(report, remedies=replace(report.remedies, tried=tried))
    monkeypatch.setattr(gradscope.runs.fix, "fix", lambda *_, **__: outside)
    result = run("fix", "../model.py", "--diff")
    assert result.code == 0
    assert str(tmp_path) in result.err
    subprocess.run(["git", "-C", str(tmp_path), "apply"], input=result.out, text=True, check=True)
    assert (tmp_path / "model.py").read_text() == AFTER


def test_apply_writes_it_and_checks_again(run: Run, asked: list[FixOptions]) -> None:
    committed()
    result = run("fix", "model.py", "--apply")
    assert result.code == 0
    assert Path("model.py").read_text() == AFTER
    assert "model.py was written." in result.out
    assert "healthy" in result.out


def dirty() -> None:
    committed()
    Path("model.py").write_text(BEFORE + "\n")


def untracked() -> None:
    git("init", "-q")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: None, "not in a git repository"),
        (untracked, "git does not have it"),
        (dirty, "changes that git does not have"),
    ],
)
def test_apply_writes_only_what_git_can_take_back(
    run: Run, asked: list[FixOptions], make: Callable[[], None], why: str
) -> None:
    make()
    text = Path("model.py").read_text()
    result = run("fix", "model.py", "--apply")
    assert result.code == 2
    assert why in " ".join(result.err.split())
    assert Path("model.py").read_text() == text
    assert not asked


def test_the_edit_is_printed_alone_or_written(run: Run, asked: list[FixOptions]) -> None:
    result = run("fix", "model.py", "--apply", "--force", "--diff")
    assert result.code == 2
    assert "cannot be given together" in result.err
    assert not asked


def test_force_writes_it_anyway(run: Run, asked: list[FixOptions]) -> None:
    assert run("fix", "model.py", "--apply", "--force").code == 0
    assert Path("model.py").read_text() == AFTER


def test_a_file_that_changed_meanwhile_is_not_written(
    run: Run, asked: list[FixOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fix(*_: object, **__: object) -> Report:
        Path("model.py").write_text("rate = 2.0\n")
        return told()

    monkeypatch.setattr(gradscope.runs.fix, "fix", fix)
    result = run("fix", "model.py", "--apply", "--force")
    assert result.code == 2
    assert "has changed since" in result.err
    assert Path("model.py").read_text() == "rate = 2.0\n"


def test_without_a_remedy_diff_prints_nothing_and_fails(
    run: Run, asked: list[FixOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = repaired()
    assert report.remedies is not None
    nothing = replace(report, remedies=replace(report.remedies, tried=report.remedies.tried[2:]))
    monkeypatch.setattr(gradscope.runs.fix, "fix", lambda *_, **__: nothing)
    result = run("fix", "model.py", "--diff")
    assert (result.code, result.out) == (1, "")
    assert run("fix", "model.py", "--apply", "--force").code == 1
    assert Path("model.py").read_text() == BEFORE


def test_what_was_interrupted_says_so(
    run: Run, asked: list[FixOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = told()
    assert report.remedies is not None
    cut = replace(report, remedies=replace(report.remedies, complete=False))
    monkeypatch.setattr(gradscope.runs.fix, "fix", lambda *_, **__: cut)
    result = run("fix", "model.py")
    assert result.code == 130
    assert "It was interrupted" in result.out
    assert run("fix", "model.py", "--diff").code == 130
    cut_short = run("fix", "model.py", "--apply", "--force")
    assert cut_short.code == 130
    assert "Nothing was written." in cut_short.err
    assert Path("model.py").read_text() == BEFORE


def test_ends_of_lines_stay_as_they_are(
    run: Run, asked: list[FixOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = (text.replace("\n", "\r\n") for text in (BEFORE, AFTER))
    Path("model.py").write_bytes(before.encode())
    report = told()
    assert report.remedies is not None
    tried = (replace(report.remedies.tried[0], diff=diff("model.py", before, after)),)
    edited = replace(report, remedies=replace(report.remedies, tried=tried))
    monkeypatch.setattr(gradscope.runs.fix, "fix", lambda *_, **__: edited)
    assert run("fix", "model.py", "--apply", "--force").code == 0
    assert Path("model.py").read_bytes() == after.encode()
