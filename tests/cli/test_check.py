"""`gradscope check`: options, streams and exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.errors import GradscopeError
from gradscope.records import Severity
from gradscope.records.options import CheckOptions, LoadOptions
from gradscope.report import FORMATS
from gradscope.serialization import report_json
from tests.cli.conftest import Pipeline, Run
from tests.report.canned import broken, deep, healthy


def test_a_healthy_model_answers_0_and_a_sick_one_1(run: Run, pipeline: Pipeline) -> None:
    assert run("check", "model.py").code == 0
    pipeline.answer = deep()
    result = run("check", "model.py")
    assert result.code == 1
    assert result.out.startswith("✗ sick  deep.py:loss_fn")
    assert result.err == ""


def test_options_reach_the_pipeline(run: Run, pipeline: Pipeline) -> None:
    arguments = "--batch-size 8 --batches 3 --seed 7 --loss mse --select non-finite,zero-gradient"
    run("check", "model.py:tiny", *arguments.split(), "--select", "non-finite", "--ignore", "zero-gradient")
    (asked,) = pipeline.asked
    assert asked == {
        "target": "model.py:tiny",
        "loading": LoadOptions(batch_size=8, seed=7, loss="mse"),
        "options": CheckOptions(batches=3, select=("non-finite", "zero-gradient"), ignore=("zero-gradient",)),
    }


def test_the_defaults_are_those_of_the_docs(run: Run, pipeline: Pipeline) -> None:
    run("check", "model.py")
    (asked,) = pipeline.asked
    assert asked == {"target": "model.py", "loading": LoadOptions(), "options": CheckOptions()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--select", "non-finit"], "non-finite"),
        (["--ignore", "zero_gradient"], "zero-gradient"),
        (["--fail-on", "exploding-gradients"], '"exploding-gradient"'),
        (["--format", "yaml"], "terminal, json"),
        (["--timeout", "0"], "seconds above 0"),
        (["--timeout", "nan"], "seconds above 0"),
        (["--save", "-"], "--format json --output -"),
        (["--output", "absent/report.txt"], "no folder"),
        (["--output", "."], "a folder"),
        (["--output", "model.py"], "overwrite an input of this command"),
        (["--save", "./model.py"], "overwrite an input of this command"),
        (["--output", "a.json", "--save", "./a.json"], "given for two outputs"),
        (["--batches", "0"], "--batches"),
        (["--batch-size", "-1"], "--batch-size"),
        (["--seed", "x"], "--seed"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(
    run: Run,
    pipeline: Pipeline,
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text("x = 1")
    result = run("check", "model.py:name", *arguments)
    assert result.code == 2
    assert said in result.err
    assert result.out == ""
    assert pipeline.asked == []
    assert Path("model.py").read_text() == "x = 1"


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [("error", 1), ("never", 0), ("blocked-gradient", 1), ("zero-gradient", 0), ("note", 1)],
)
def test_the_policy_decides_on_the_code(run: Run, pipeline: Pipeline, fail_on: str, code: int) -> None:
    pipeline.answer = broken()
    assert run("check", "model.py", "--fail-on", fail_on).code == code


def test_a_healthy_verdict_with_code_1_is_explained(run: Run, pipeline: Pipeline) -> None:
    warned = tuple(replace(finding, severity=Severity.WARNING) for finding in deep().findings)
    pipeline.answer = replace(deep(), findings=warned)
    result = run("check", "model.py", "--fail-on", "warning")
    assert result.code == 1
    assert result.out.startswith("! no errors")
    assert "--fail-on warning" in result.err


def test_what_the_model_prints_stays_out_of_the_result(run: Run, pipeline: Pipeline) -> None:
    pipeline.prints = "epoch 1"
    result = run("check", "model.py", "--format", "json")
    assert json.loads(result.out)["verdict"] == "healthy"
    assert "epoch 1" in result.err


def test_output_goes_to_a_file_without_colour(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    pipeline.answer = deep()
    result = run("check", "model.py", "--output", str(path))
    assert (result.code, result.out) == (1, "")
    assert "δ from first to last layer" in path.read_text(encoding="utf-8")
    assert "\x1b" not in path.read_text(encoding="utf-8")


def test_a_saved_run_is_shown_again_as_it_was(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    path = str(tmp_path / "run.json")
    pipeline.answer = broken()
    first = run("check", "model.py", "--save", path)
    again = run("report", path)
    assert again == first
    for extra in (
        ["--format", "json"],
        ["--all"],
        ["--quiet"],
        ["--fail-on", "never"],
        ["--color", "always"],
    ):
        assert run("report", path, *extra) == run("check", "model.py", *extra)


def test_colour_can_be_forced_and_forbidden(
    run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[" not in run("check", "model.py").out
    assert "\x1b[" in run("check", "model.py", "--color", "always").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in run("check", "model.py").out
    assert "\x1b[" not in run("check", "model.py", "--color", "never").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run("check", "model.py").out


def test_the_width_is_that_of_columns_or_120(
    run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.answer = deep()
    wide = max(map(len, run("check", "model.py").out.splitlines()))
    monkeypatch.setenv("COLUMNS", "60")
    narrow = max(map(len, run("check", "model.py").out.splitlines()))
    assert narrow <= 60 < wide <= 120


def test_an_input_that_cannot_be_judged_is_told_without_a_traceback(run: Run, pipeline: Pipeline) -> None:
    pipeline.answer = GradscopeError(
        'There is no "loss_fn" in "m.py".',
        why="We found `loss`.",
        fix="Rename it.",
        details="  m.py:3\n    \x1b[31mraise",
    )
    result = run("check", "m.py")
    assert result.code == 2
    assert result.out == ""
    assert result.err.splitlines() == [
        'error: There is no "loss_fn" in "m.py".',
        "  We found `loss`.",
        "    m.py:3",
        "      \\x1b[31mraise",
        "  → Rename it.",
    ]


@pytest.mark.parametrize(
    ("answer", "code", "trouble", "said"),
    [
        (GradscopeError("No <loss>."), 2, "input", "No <loss>."),
        (GradscopeError("No <loss>.", slug="timeout"), 2, "timeout", "No <loss>."),
        (RuntimeError("boom"), 3, "bug", "gradscope failed, and the model is not to blame."),
    ],
)
def test_a_target_that_cannot_be_judged_leaves_no_older_report_to_be_believed(
    run: Run,
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Exception,
    code: int,
    trouble: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = [argument for name in FORMATS for argument in ("--report", f"{name}=old.{name}")]
    wanted += ["--save", "saved.json"]
    assert run("check", "m.py", *wanted).code == 0
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    pipeline.answer = answer
    result = run("check", "m.py", *wanted)
    assert (result.code, result.out) == (code, "")
    assert said.partition(" ")[0] in result.err
    for name, old in before.items():
        new = Path(name).read_bytes()
        assert new != old, name
    assert run("check", "m.py", "--output", "old.terminal").out == ""
    assert said in Path("old.terminal").read_text()
    (outcome,) = json.loads(run("check", "m.py", "--format", "json").out)["targets"]
    assert (outcome["target"], outcome["report"]) == ("m.py", None)
    assert outcome["error"]["kind"] == trouble
    (saved,) = json.loads(Path("saved.json").read_text())["targets"]
    assert saved["error"]["what"] == outcome["error"]["what"] == said
    assert run("report", "saved.json").code == code


def test_a_bug_of_ours_has_a_traceback_and_a_code_of_its_own(run: Run, pipeline: Pipeline) -> None:
    pipeline.answer = RuntimeError("boom \x1b[2J")
    result = run("check", "model.py")
    assert result.code == 3
    assert result.out == ""
    assert "RuntimeError: boom \\x1b[2J" in result.err
    assert "your model is not to blame" in result.err


def test_ctrl_c_answers_130_and_saves_nothing(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.answer = KeyboardInterrupt()
    result = run("check", "model.py", "--save", str(tmp_path / "run.json"))
    assert result.code == 130
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in result.err


def test_every_format_has_the_same_digits(run: Run, pipeline: Pipeline, tmp_path: Path) -> None:
    path = str(tmp_path / "run.json")
    pipeline.answer = replace(healthy(), target="x.py")
    data = json.loads(run("check", "x.py", "--format", "json", "--save", path).out)
    assert data == json.loads(Path(path).read_text())
    assert report_json.load(path) == report_json.rounded(pipeline.answer)
