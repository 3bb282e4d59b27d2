"""`--baseline`, `--write-baseline` and `--seeds` on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.gate import baseline_file
from gradscope.records import BaselineStatus
from tests.cli.conftest import Pipeline, Run
from tests.report.canned import deep


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    Path("model.py").touch()


def test_they_reach_the_pipeline(run: Run, pipeline: Pipeline) -> None:
    baseline_file.save("base.json", {})
    run("check", "model.py", "--seeds", "5", "--baseline", "base.json")
    options = pipeline.asked[0]["options"]
    assert (options.seeds, options.baseline) == (5, "base.json")


@pytest.mark.parametrize("targets", [["model.py"], ["model.py", "other.py"]])
def test_a_run_reads_its_baseline_once(
    run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, targets: list[str]
) -> None:
    Path("other.py").touch()
    baseline_file.save("base.json", {"gone.py": baseline_file.BaselineEntry((), ())})
    read, load = [], baseline_file.load
    monkeypatch.setattr(baseline_file, "load", lambda path: read.append(path) or load(path))
    assert "gone.py, whose file is gone" in run("check", *targets, "--baseline", "base.json").err
    assert read == ["base.json"]
    assert [set(known["base.json"].entries) for known in pipeline.baselines] == [{"gone.py"}]


def test_writing_a_baseline_answers_0_and_says_what_is_known(run: Run, pipeline: Pipeline) -> None:
    pipeline.answer = deep()
    result = run("check", "model.py", "--write-baseline", "base.json")
    assert result.code == 0
    assert result.out.startswith("✗ sick")
    assert result.err == "wrote base.json: 1 known finding in 1 target\n"
    assert [known.rule for known in baseline_file.load("base.json")["model.py"].findings] == [
        "vanishing-gradient"
    ]
    assert run("check", "model.py", "--write-baseline", "base.json", "--quiet").err == ""


def test_a_known_finding_answers_0_and_a_worse_one_1(run: Run, pipeline: Pipeline) -> None:
    for standing, code in ((BaselineStatus.UNCHANGED, 0), (BaselineStatus.WORSE, 1), (BaselineStatus.NEW, 1)):
        findings = tuple(replace(finding, baseline_status=standing) for finding in deep().findings)
        pipeline.answer = replace(deep(), findings=findings)
        assert run("check", "model.py").code == code


def test_in_ci_nothing_is_measured_for_a_baseline_that_cannot_be_written(
    run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    result = run("check", "model.py", "--write-baseline", "base.json")
    assert result.code == 2
    assert "A baseline is not written in CI." in result.err
    assert (pipeline.asked, Path("base.json").exists()) == ([], False)


def test_a_file_that_is_no_baseline_is_never_written_over(run: Run, pipeline: Pipeline) -> None:
    Path("model.py").write_text("x = 1\n", encoding="utf-8")
    assert run("check", "model.py", "--write-baseline", "model.py").code == 2
    assert Path("model.py").read_text(encoding="utf-8") == "x = 1\n"


def test_a_report_is_never_written_over_the_baseline(run: Run, pipeline: Pipeline) -> None:
    baseline_file.save("base.json", {})
    before = Path("base.json").read_bytes()
    assert run("check", "model.py", "--baseline", "base.json", "--save", "base.json").code == 2
    assert run("check", "model.py", "--write-baseline", "base.json", "--output", "base.json").code == 2
    assert Path("base.json").read_bytes() == before


def test_a_target_whose_file_is_gone_is_told_and_dropped_by_the_next_writing(
    run: Run, pipeline: Pipeline
) -> None:
    pipeline.answer = deep()
    Path("old.py").touch()
    run("check", "old.py", "--write-baseline", "base.json")
    run("check", "model.py", "--write-baseline", "base.json")
    assert "stale" not in run("check", "model.py", "--baseline", "base.json").err
    Path("old.py").unlink()
    said = run("check", "model.py", "--baseline", "base.json").err
    assert "base.json is stale: it holds old.py, whose file is gone. Write it again." in said
    run("check", "model.py", "--write-baseline", "base.json")
    assert set(baseline_file.load("base.json")) == {"model.py"}
