"""`gradscope check` under a configuration: which targets, which settings, one exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gradscope.errors import GradscopeError
from gradscope.gate import baseline_file
from gradscope.records.options import CheckOptions, LoadOptions
from tests.cli.conftest import Pipeline, Run
from tests.cli.test_process import heavy_imports
from tests.report.canned import broken, deep

PROJECT = """
[tool.gradscope]
targets = ["models/*.py"]
batches = 2
jobs = 3
data = "train.npz"
fail-on = "note"

[[tool.gradscope.target]]
path = "models/rnn.py"
batches = 3
fail-on = "never"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").mkdir()
    for name in ("cnn", "rnn"):
        (tmp_path / f"models/{name}.py").write_text("x = 1\n")
    (tmp_path / "other.py").write_text("x = 1\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_target_checks_all_that_are_configured(run: Run, pipeline: Pipeline, project: Path) -> None:
    result = run("check")
    assert result.code == 0
    assert [asked["target"] for asked in pipeline.asked] == ["models/cnn.py", "models/rnn.py"]
    assert [asked["options"].batches for asked in pipeline.asked] == [2, 3]
    assert pipeline.jobs == [3]
    assert "0 of 2 targets fail" in result.out
    assert [target["target"] for target in json.loads(run("check", "--format", "json").out)["targets"]] == [
        "models/cnn.py",
        "models/rnn.py",
    ]


def test_each_target_fails_by_its_own_policy(run: Run, pipeline: Pipeline, project: Path) -> None:
    pipeline.answer = deep()
    result = run("check")
    assert result.code == 1
    assert "1 of 2 targets fails" in result.out
    assert run("check", "models/rnn.py").code == 0
    assert run("check", "--fail-on", "never").code == 0, "the command line wins"
    assert run("check", "models/rnn.py", "--fail-on", "error").code == 1


def test_a_target_that_cannot_be_judged_answers_2_among_others(
    run: Run, pipeline: Pipeline, project: Path
) -> None:
    pipeline.answer = GradscopeError("No loss.")
    result = run("check")
    assert result.code == 2
    assert "not judged: models/cnn.py" in result.out
    assert result.err == ""


def test_several_targets_are_shown_in_one_table(run: Run, pipeline: Pipeline, project: Path) -> None:
    result = run("check", "models/rnn.py", "other.py", "./other.py", "--jobs", "1")
    assert [asked["target"] for asked in pipeline.asked] == ["models/rnn.py", "other.py"]
    assert "0 of 2 targets fail" in result.out
    assert pipeline.jobs == [1]


def test_one_target_is_shown_alone_with_the_settings_of_the_file(
    run: Run, pipeline: Pipeline, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "models")
    result = run("check", "rnn.py", "--batches", "4")
    (asked,) = pipeline.asked
    assert asked == {
        "target": "rnn.py",
        "loading": LoadOptions(data=("../train.npz",)),
        "options": CheckOptions(batches=4),
    }
    assert result.out.startswith("✓ healthy  models/rnn.py")
    assert "1 target" not in result.out
    assert pipeline.jobs == []


def test_options_that_are_not_given_leave_the_file_its_say(
    run: Run, pipeline: Pipeline, project: Path
) -> None:
    (project / "pyproject.toml").unlink()
    (project / "gradscope.toml").write_text("seed = 7\nseeds = 3\nverify = true\nignore = 'non-finite'\n")
    run("check", "other.py")
    run("check", "other.py", "--seed", "0", "--seeds", "1", "--no-verify", "--ignore", "zero-gradient")
    first, second = pipeline.asked
    assert first["loading"].seed == 7
    assert first["options"] == CheckOptions(seeds=3, verified=True, ignore=("non-finite",))
    assert second["loading"].seed == 0
    assert second["options"] == CheckOptions(ignore=("zero-gradient",))


def test_a_configuration_can_be_named(run: Run, pipeline: Pipeline, project: Path) -> None:
    (project / "ci").mkdir()
    (project / "ci/nightly.toml").write_text("targets = '../other.py'\nbatches = 9\n")
    assert run("check", "--config", "ci/nightly.toml").code == 0
    (asked,) = pipeline.asked
    assert (asked["target"], asked["options"].batches) == ("other.py", 9)
    assert "absent.toml" in run("check", "--config", "absent.toml").err


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "configures no targets"), (None, "No pyproject.toml"), ("batches = '4'", "`batches`")],
)
def test_nothing_to_check_and_a_wrong_file_answer_2(
    run: Run, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("gradscope.toml").write_text(text)
    result = run("check")
    assert result.code == 2
    assert said in " ".join(result.err.split())
    assert result.out == ""
    assert pipeline.asked == []


def test_no_target_tells_both_ways_to_give_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = " ".join(run("check").err.split())
    assert "gradscope check model.py" in said
    assert 'targets = ["models/*.py"]' in said


def test_show_config_runs_nothing(run: Run, pipeline: Pipeline, project: Path) -> None:
    result = run("check", "--show-config", "--batches", "5")
    assert (result.code, pipeline.asked) == (0, [])
    shown = tomllib.loads(result.out)
    assert [(target["path"], target["batches"]) for target in shown["target"]] == [
        ("models/cnn.py", 5),
        ("models/rnn.py", 5),
    ]
    assert "# command line" in result.out
    entry = json.loads(run("check", "models/rnn.py", "--show-config", "--format", "json").out)["targets"][0]
    assert entry["settings"]["batches"] == {"value": 3, "from": "target"}
    assert run("check", "--show-config", "--format", "sarif").code == 2
    run("check", "--show-config", "--output", "shown.toml")
    assert tomllib.loads(Path("shown.toml").read_text())["jobs"] == 3


def test_no_report_is_written_over_the_configuration_or_a_target(
    run: Run, pipeline: Pipeline, project: Path
) -> None:
    for path in ("pyproject.toml", "models/rnn.py"):
        before = Path(path).read_text()
        assert "overwrite" in run("check", "--output", path).err
        assert Path(path).read_text() == before
    assert pipeline.asked == []


def test_a_module_is_found_from_the_folder_of_the_configuration(
    run: Run, pipeline: Pipeline, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "pyproject.toml").write_text('[tool.gradscope]\ntargets = ["package.module:loss"]\n')
    monkeypatch.chdir(project / "models")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert run("check").code == 0
    assert sys.path[0] == str(project)
    assert [asked["target"] for asked in pipeline.asked] == ["package.module:loss"]


def test_a_baseline_of_the_file_reaches_every_target_and_is_no_output(
    run: Run, pipeline: Pipeline, project: Path
) -> None:
    baseline_file.save("known.json", {})
    (project / "gradscope.toml").write_text("targets = ['models/*.py']\nbaseline = 'known.json'\n")
    (project / "pyproject.toml").unlink()
    pipeline.answer = broken()
    run("check")
    assert {asked["options"].baseline for asked in pipeline.asked} == {"known.json"}
    assert "overwrite" in run("check", "--save", "known.json").err


def test_a_baseline_that_is_missing_is_told_once_and_can_be_written(
    run: Run, pipeline: Pipeline, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    (project / "gradscope.toml").write_text("targets = ['models/*.py']\nbaseline = 'known.json'\n")
    (project / "pyproject.toml").unlink()
    result = run("check")
    assert (result.code, result.out, pipeline.asked) == (2, "", [])
    assert '"known.json" cannot be read' in result.err
    pipeline.answer = broken()
    assert run("check", "--write-baseline", "known.json").code == 0
    assert {asked["options"].baseline for asked in pipeline.asked} == {None}
    assert baseline_file.load("known.json").keys() == {"models/cnn.py", "models/rnn.py"}


@pytest.mark.parametrize("arguments", [("--show-config",), ("--jobs", "0"), ()])
def test_the_configuration_is_read_without_jax(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gradscope.toml").write_text('select = ["non-finit"]' if not arguments else 'targets = ["a.py"]')
    assert heavy_imports("check", *arguments) == []


MODEL = """
import jax.numpy as jnp
params = {"w": jnp.ones((3, 2))}
batch = (jnp.arange(12.0).reshape(4, 3) / 12, jnp.ones((4, 2)))
def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] - y) ** 2)
"""


def test_a_real_run_from_a_folder_below_finds_files_modules_and_data(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        "[tool.gradscope]\ntargets = ['models/cnn.py', 'package.net', 'absent.py']\njobs = 1\n"
        "[tool.gradscope.limits.vanishing-gradient]\nratio = 1e-4\n"
    )
    (project / "package").mkdir()
    (project / "package/layers.py").write_text(MODEL)
    (project / "package/net.py").write_text("from .layers import batch, loss_fn, params\n")
    (project / "models/cnn.py").write_text(MODEL)
    done = subprocess.run(
        [sys.executable, "-m", "gradscope", "check", "--format", "json"],
        cwd=project / "models",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    cnn, net, absent = json.loads(done.stdout)["targets"]
    assert [cnn["target"], net["target"], absent["target"]] == ["models/cnn.py", "package.net", "absent.py"]
    assert cnn["report"]["verdict"] == net["report"]["verdict"] == "healthy"
    assert cnn["report"]["target"] == "models/cnn.py"
    assert "absent.py" in absent["error"]["what"]
