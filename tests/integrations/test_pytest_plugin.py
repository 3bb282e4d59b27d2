"""The pytest plugin, as a user's project runs it: targets as tests, the fixture, the marker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope import processes
from gradscope.integrations.pytest.plugin import Gate
from gradscope.records import BaselineStatus, FailureKind, Outcome, Policy, Suite, TargetError
from gradscope.records.options import Task
from gradscope.runs import verify
from tests.report.canned import deep, healthy

pytest_plugins = ["pytester"]

SAMPLES = Path(__file__).parents[2] / "sample_models"
CONFIGURATION = '[tool.gradscope]\ntargets = ["models/sick.py", "models/well.py", "models/lost.py"]\n'
USE = """
import pytest
from sick import init, loss_fn, batches
import jax

params, batch = init(jax.random.PRNGKey(0)), next(batches())


def test_that_fails(gradscope):
    gradscope.assert_healthy(loss_fn, params, batch)


@pytest.mark.gradscope(ignore="exploding-gradient")
class TestMarked:
    def test_the_class_is_heard(self, gradscope):
        assert gradscope.check(loss_fn, params, batches=batches).flow.batches == 1

    @pytest.mark.gradscope(ignore=(), fail_on="never", batches=2)
    def test_the_nearest_wins(self, gradscope):
        report = gradscope.assert_healthy(loss_fn, params, batches=batches)
        assert report.verdict == "sick"
        assert report.flow.batches == 2

    @pytest.mark.gradscope(fail_no="never")
    def test_of_a_wrong_marker(self, gradscope):
        pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Three targets that are answered without JAX, and a fourth that the baseline knows."""
    pytester.makefile(".toml", pyproject=CONFIGURATION)
    pytester.makepyfile("def test_of_the_user(): pass")
    sick = deep()
    known = replace(
        sick, findings=tuple(replace(f, baseline_status=BaselineStatus.UNCHANGED) for f in sick.findings)
    )
    reports = {"models/sick.py": sick, "models/well.py": healthy(), "models/known.py": known}
    trouble = TargetError(FailureKind.INPUT, "models/lost.py is not there.", "Nobody made it.", "Make it.")

    def run(tasks: tuple[Task, ...], *, jobs: int, progress: Callable[[str], None]) -> Suite:
        del jobs, progress
        found = ((task, reports.get(task.target)) for task in tasks)
        return Suite(
            tuple(
                Outcome(task.target, report, None if report else trouble, Policy(task.fail_on))
                for task, report in found
            )
        )

    monkeypatch.setattr(processes, "run", run)
    monkeypatch.setenv("COLUMNS", "100")
    return pytester


def test_each_target_is_a_test(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--gradscope")
    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines(["gradscope: 3 targets of pyproject.toml"])
    result.stdout.fnmatch_lines(["gradscope F.E*"])
    text = result.stdout.str()
    assert "error vanishing-gradient in " in text
    assert "→ " in text
    for said in ("models/lost.py is not there.", "Nobody made it.", "→ Make it."):
        assert said in text
    assert "Traceback" not in text
    assert "pytest_targets.py" not in text


def test_what_the_baseline_knows_passes(project: pytest.Pytester) -> None:
    project.makefile(".toml", pyproject='[tool.gradscope]\ntargets = ["models/known.py"]\n')
    project.runpytest_inprocess("--gradscope").assert_outcomes(passed=2)


def test_modules_are_found_beside_the_configuration(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def run(tasks: tuple[Task, ...], *, jobs: int, progress: Callable[[str], None]) -> Suite:
        seen.append(os.environ.get("PYTHONPATH"))
        return Suite((Outcome(tasks[0].target, healthy()),))

    monkeypatch.setattr(processes, "run", run)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    project.makefile(".toml", pyproject='[tool.gradscope]\ntargets = ["models.well"]\n')
    project.mkdir("inner").joinpath("test_of_the_user.py").write_text("def test_it(): pass")
    monkeypatch.chdir(project.path / "inner")
    project.runpytest_inprocess("--gradscope").assert_outcomes(passed=2)
    assert seen == [str(project.path)]
    assert "PYTHONPATH" not in os.environ


def test_a_test_that_changes_the_folder_changes_no_target(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def run(tasks: tuple[Task, ...], *, jobs: int, progress: Callable[[str], None]) -> Suite:
        seen.append(Path.cwd())
        return Suite((Outcome(tasks[0].target, healthy()),))

    monkeypatch.setattr(processes, "run", run)
    monkeypatch.chdir(project.path)
    elsewhere = str(project.mkdir("elsewhere"))
    project.makeconftest(f"import os\ndef pytest_runtest_setup(): os.chdir({elsewhere!r})")
    project.runpytest_inprocess("--gradscope").assert_outcomes(passed=4)
    assert seen == [project.path] * 3


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["--gradscope"], ["sick", "well", "lost", "of_the_user"]),
        ([], ["of_the_user"]),
        (["--gradscope", "-k", "well"], ["well"]),
        (["--gradscope", "-m", "gradscope", "--strict-markers"], ["sick", "well", "lost"]),
        (["--gradscope", "gradscope::models/well.py"], ["well"]),
        (["--gradscope", "--deselect", "gradscope::models/lost.py"], ["sick", "well", "of_the_user"]),
    ],
)
def test_targets_are_chosen_as_other_tests_are(
    project: pytest.Pytester, arguments: list[str], chosen: list[str]
) -> None:
    result = project.runpytest_inprocess("--collect-only", "-q", *arguments)
    found = {line for line in result.outlines if "::" in line}
    ids = {f"gradscope::models/{name}.py" for name in chosen if name != "of_the_user"}
    users = {line for line in found if line.endswith("::test_of_the_user")}
    assert found - users == ids
    assert bool(users) == ("of_the_user" in chosen)


def test_the_last_failures_run_again(project: pytest.Pytester) -> None:
    project.runpytest_inprocess("--gradscope")
    project.runpytest_inprocess("--gradscope", "--lf").assert_outcomes(failed=1, errors=1)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ("", "--gradscope has no targets. No pyproject.toml*"),
        ("[tool.gradscope]\n", "--gradscope has no targets. pyproject.toml names none.*"),
        ('[tool.gradscope]\ntarget = ["m.py"]\n', "*targets*"),
    ],
)
def test_without_a_configuration_it_is_a_usage_error(
    project: pytest.Pytester, configuration: str, said: str
) -> None:
    project.makefile(".toml", pyproject=configuration)
    result = project.runpytest_inprocess("--gradscope")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


def test_an_unknown_target_is_a_usage_error(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--gradscope", "gradscope::models/wel.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_fixture_verifies_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "verify_loss", lambda *given, **options: (given, options))
    assert Gate({"fail_on": "never"}).verify(1, 2, 3, directions=4) == ((1, 2, 3), {"directions": 4})


def test_the_plugin_costs_a_run_without_gradscope_nothing() -> None:
    code = "import json, sys, gradscope.integrations.pytest.plugin; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert not {"jax", "jaxlib", "numpy", "optax", "typer", "rich", "pydantic"} & set(loaded)
    ours = {name for name in loaded if name.startswith("gradscope.")}
    home = "gradscope.integrations.pytest.plugin"
    assert ours == {"gradscope.display", "gradscope.integrations", "gradscope.integrations.pytest", home}


STAND_IN = """
from gradscope import processes
from gradscope.records import TargetError, Outcome, Suite, FailureKind
from tests.report.canned import deep, healthy


def run(tasks, *, jobs, progress):
    (task,) = tasks
    reports = {"models/sick.py": deep(), "models/well.py": healthy()}
    if task.target in reports:
        return Suite((Outcome(task.target, reports[task.target]),))
    return Suite((Outcome(task.target, error=TargetError(FailureKind.INPUT, "It is not there.")),))


processes.run = run
"""


def results(project: Path, *options: str) -> tuple[dict[str, str], str]:
    """What became of each test in a pytest of its own, and all that it wrote."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rA",
        "--strict-markers",
        "--gradscope",
        "-W",
        "error",
        *options,
    ]
    env = {**os.environ, "PYTHONPATH": str(SAMPLES.parent)}
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return {name: outcome for outcome, name in found}, done.stdout


def test_targets_are_spread_over_the_workers_of_xdist(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(CONFIGURATION)
    (tmp_path / "conftest.py").write_text(STAND_IN)
    found, _ = results(tmp_path, "-n", "2")
    assert found == {
        "gradscope::models/sick.py": "FAILED",
        "gradscope::models/well.py": "PASSED",
        "gradscope::models/lost.py": "ERROR",
    }


def test_a_real_target_and_real_tests(tmp_path: Path) -> None:
    """One test for one run of pytest: it takes seconds."""
    (tmp_path / "models").mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.gradscope]\ntargets = ["models/sick.py"]\n')
    shutil.copy(SAMPLES / "exploding_rnn.py", tmp_path / "models/sick.py")
    shutil.copy(SAMPLES / "huge_init_mlp.py", tmp_path / "sick.py")
    (tmp_path / "test_use.py").write_text(USE)
    found, text = results(tmp_path)
    assert found == {
        "gradscope::models/sick.py": "FAILED",
        "test_use.py::test_that_fails": "FAILED",
        "test_use.py::TestMarked::test_the_class_is_heard": "PASSED",
        "test_use.py::TestMarked::test_the_nearest_wins": "PASSED",
        "test_use.py::TestMarked::test_of_a_wrong_marker": "ERROR",
    }
    assert "error exploding-through-time in w_hh" in text
    assert "error exploding-gradient in [0]" in text
    assert "models/sick.py:29" in text
    assert "fail_no= is no option of @pytest.mark.gradscope: did you mean fail_on=?" in text
    assert "_ gradscope models/sick.py _" in text
    for frame in ("assert_healthy.py", "pytest/plugin.py", "pytest/targets.py"):
        assert frame not in text
