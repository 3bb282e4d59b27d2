"""What stands in CI: the action, the hooks, and the page that shows them, each run as far as it runs here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pre_commit.clientlib import load_config, load_manifest

from gradscope.cli.app import main
from gradscope.records import Outcome, Suite
from tests.pages.reading import blocks
from tests.report.canned import healthy

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_models"
PAGE = "docs/ci.md"
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
SCRIPTS = [step for step in ACTION["runs"]["steps"] if "run" in step]


def with_tools(folder: Path) -> dict[str, str]:
    """The environment of a job: `gradscope` is the one under test, `python` writes down what it is asked."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    scripts = {
        "gradscope": f'exec "{sys.executable}" -m gradscope "$@"',
        "python": 'printf "%s\\n" "$@" >asked',
    }
    for name, script in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    mine = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return {**mine, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


AS_A_RUNNER = ("--noprofile", "--norc", "-eo", "pipefail")
"""How GitHub starts a step whose `shell` is bash."""


def shell(script: str, cwd: Path, env: dict[str, str], *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", *options, "-c", script],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def accepted(schema: str, *files: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_action_is_one_to_github() -> None:
    accepted("vendor.github-actions", ROOT / "action.yml")


def test_the_page_shows_workflows_and_pipelines_that_are_valid(tmp_path: Path) -> None:
    by_action, by_hand = (yaml.safe_load(block) for block in blocks(PAGE, "yaml", "GitHub"))
    for name, workflow in (("action", by_action), ("hand", {**by_action, **by_hand})):
        # YAML reads the key `on` as true.
        text = yaml.safe_dump({("on" if key is True else key): value for key, value in workflow.items()})
        (tmp_path / f"{name}.yml").write_text(text)
    accepted("vendor.github-workflows", tmp_path / "action.yml", tmp_path / "hand.yml")
    (tmp_path / "gitlab.yml").write_text(blocks(PAGE, "yaml", "GitLab")[0])
    accepted("vendor.gitlab-ci", tmp_path / "gitlab.yml")


def test_the_page_names_every_input_of_the_action() -> None:
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", (ROOT / PAGE).read_text(encoding="utf-8"), re.MULTILINE)
        for name in row.split("`")[1::2]
    }
    assert set(ACTION["inputs"]) <= named
    steps = yaml.safe_load(blocks(PAGE, "yaml", "GitHub")[0])["jobs"]["gradscope"]["steps"]
    assert set(steps[-1]["with"]) <= set(ACTION["inputs"])


@pytest.mark.parametrize("step", SCRIPTS, ids=[step["id"] for step in SCRIPTS])
def test_no_input_is_pasted_into_a_script(step: dict[str, Any]) -> None:
    assert "${{" not in step["run"]
    assert step["shell"] == "bash"


@dataclass(frozen=True)
class Job:
    """One run of the step that checks."""

    code: int
    log: str
    outputs: dict[str, str]
    summary: str
    sarif: bool


def start(step: str, folder: Path, **inputs: str) -> subprocess.Popen[str]:
    """A step of the action in a folder of its own, with the inputs that are given and the defaults."""
    folder.mkdir(exist_ok=True)
    given = {name: entry["default"] for name, entry in ACTION["inputs"].items()} | inputs
    (found,) = (each for each in SCRIPTS if each["id"] == step)
    env = with_tools(folder) | {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: given[match[1]], value)
        for name, value in found["env"].items()
    }
    env |= {"RUNNER_TEMP": str(folder), "GITHUB_OUTPUT": str(folder / "outputs")}
    env |= {"GITHUB_STEP_SUMMARY": str(folder / "summary")}
    return shell(found["run"], folder, env, *AS_A_RUNNER)


def finished(process: subprocess.Popen[str], folder: Path) -> Job:
    log, errors = process.communicate(timeout=120)
    lines = (folder / "outputs").read_text().splitlines()
    summary = folder / "summary"
    return Job(
        process.returncode,
        log + errors,
        dict(line.split("=", 1) for line in lines),  # type: ignore[arg-type]
        summary.read_text(encoding="utf-8") if summary.exists() else "",
        (folder / "gradscope.sarif").exists(),
    )


def test_the_action_fails_on_the_exploding_sample_and_passes_on_its_twin(tmp_path: Path) -> None:
    names = {"sick": "exploding_rnn.py", "well": "orthogonal_rnn.py"}
    running = {}
    for name, sample in names.items():
        (tmp_path / name).mkdir()
        shutil.copy(SAMPLES / sample, tmp_path / name)
        given = {"targets": f" {sample}\n", "args": "--ignore\nnon-finite", "fail-on": "error"}
        running[name] = start("check", tmp_path / name, **given)
    sick, well = (finished(process, tmp_path / name) for name, process in running.items())

    assert (sick.code, sick.outputs["exit-code"]) == (1, "1"), sick.log
    assert "::error title=gradscope (exploding-through-time),file=exploding_rnn.py,line=29::" in sick.log
    assert "exploding-through-time" in sick.summary
    assert sick.outputs["sarif-file"] == "gradscope.sarif"
    (token,) = re.findall(r"^::stop-commands::(\w{32})$", sick.log, re.MULTILINE)
    report = sick.log.partition(f"::{token}\n")[2].partition(f"::{token}::\n")[0]
    assert report.startswith("✗ sick  exploding_rnn.py")

    assert (well.code, well.outputs["exit-code"]) == (0, "0"), well.log
    assert "::error" not in well.log
    assert sick.sarif
    assert well.sarif


def test_the_action_keeps_the_code_of_a_broken_job(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.gradscope]\ntarget = 3\n")
    job = finished(start("check", tmp_path), tmp_path)
    assert job.code == 2, job.log
    assert job.outputs == {"exit-code": "2"}
    assert not job.summary


def uploads(job: Job) -> bool:
    """What the runner makes of the condition of the step that uploads."""
    (condition,) = (s["if"] for s in ACTION["runs"]["steps"] if "upload-sarif" in s.get("uses", ""))
    python = condition.replace("&&", "and").replace("always()", "True")
    python = re.sub(r"(?:steps\.check\.outputs|inputs)\.([\w-]+)", r"values['\1']", python)
    values = {"upload-sarif": "true", "sarif-file": "", **job.outputs}
    known = {"values": values, "fromJSON": json.loads, "contains": lambda among, one: one in among}
    return bool(eval(python, known))


def test_what_could_not_be_judged_is_told_and_closes_no_alerts(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError(1)\n")
    job = finished(start("check", tmp_path, targets="broken.py"), tmp_path)
    assert job.outputs == {
        "exit-code": "2",
        "sarif-file": "gradscope.sarif",
        "html-file": "gradscope.html",
    }, job.log
    assert "not judged" in job.summary
    assert not uploads(job)
    assert uploads(replace(job, outputs={**job.outputs, "exit-code": "1"}))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, ["OWN"]),
        ({"requirements": "-r requirements.txt\nflax"}, ["-r", "requirements.txt", "flax", "OWN"]),
        ({"source": "gradscope-jax==0.1"}, ["gradscope-jax==0.1"]),
        ({"source": "none"}, None),
        ({"source": "$(touch x)", "requirements": "`touch x`"}, ["`touch", "x`", "$(touch x)"]),
    ],
)
def test_the_action_installs_what_it_is_told_and_runs_none_of_it(
    tmp_path: Path, inputs: dict[str, str], words: list[str] | None
) -> None:
    job = finished(start("install", tmp_path, **inputs), tmp_path)
    assert job.code == 0, job.log
    assert job.outputs["cpu"].isdigit()
    assert job.outputs["cache"].endswith("/gradscope/xla")
    asked = tmp_path / "asked"
    own = "${{ github.action_path }}"
    if words is None:
        assert not asked.exists()
    else:
        assert asked.read_text().splitlines() == [
            "-m",
            "pip",
            "install",
            *(own if w == "OWN" else w for w in words),
        ]
    assert not (tmp_path / "x").exists()


def test_the_commands_of_the_page_answer_what_it_says(tmp_path: Path) -> None:
    """The gate fails on the exploding sample and passes on its twin."""
    (session,) = blocks(PAGE, "console", "The gate")
    parts = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    assert len(parts) == 2
    env = with_tools(tmp_path)
    running = [(shell(command, ROOT, env), said) for command, said in parts]
    for process, said in running:
        shown, errors = process.communicate(timeout=120)
        assert shown.splitlines()[-1] == said.splitlines()[-1], errors
        # Of what lies between, numbers may differ in their last digit from one version of JAX to the next.
        assert shown.splitlines()[:4] == said.splitlines()[:4] or "exit code 0" in said
        assert re.sub(r"[\d.e+]+", "#", " ".join(shown.split())) == re.sub(
            r"[\d.e+]+", "#", " ".join(said.split())
        )


def test_every_check_on_the_page_writes_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    (tmp_path / "models").mkdir()
    for name in ("cnn.py", "rnn.py"):
        (tmp_path / "models" / name).touch()
    (tmp_path / "pyproject.toml").write_text(blocks(PAGE, "toml", "The gate")[0])
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|- |run: )(gradscope check (?!sample).*)$", page, re.MULTILINE)
    assert len(commands) == 3
    suite = Suite((Outcome("models/rnn.py", healthy()),))
    monkeypatch.setattr("gradscope.processes.judged", lambda *_, **__: suite)
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(os.path.expandvars(command))[1:])
        assert ended.value.code in (0, None), capsys.readouterr().err
    written = {file.name for file in tmp_path.iterdir()}
    assert {"summary.md", "gradscope.sarif", "gradscope.xml", "gradscope.html", "codequality.json"} <= written


HOOKS = {hook["id"]: hook for hook in load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))}


def test_the_hooks_are_hooks_to_pre_commit(tmp_path: Path) -> None:
    for hook in HOOKS.values():
        assert hook["entry"] == "gradscope check"
        assert not hook["pass_filenames"]
        assert hook["require_serial"]
        assert hook["stages"] == ["pre-push", "manual"]
    (tmp_path / "config.yaml").write_text(blocks(PAGE, "yaml", "pre-commit")[0])
    (repository,) = load_config(str(tmp_path / "config.yaml"))["repos"]
    assert [hook["id"] for hook in repository["hooks"]] == ["gradscope"]
    assert HOOKS["gradscope"]["language"] in ("system", "unsupported"), "the user's model must be importable"
    assert HOOKS["gradscope-isolated"]["language"] == "python"


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("eror", 1)])
def test_the_hook_runs_in_a_repository_of_a_user(tmp_path: Path, fail_on: str, code: int) -> None:
    hooks, mine = tmp_path / "hooks", tmp_path / "mine"
    for folder in (hooks, mine):
        folder.mkdir()
        git(folder, "init")
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    (mine / "pyproject.toml").write_text(f'[tool.gradscope]\ntargets = ["m.py"]\nfail-on = "{fail_on}"\n')
    (mine / "m.py").touch()
    git(hooks, "add", "-A")
    git(hooks, "commit", "-m", "hooks")
    git(mine, "add", "-A")
    env = with_tools(tmp_path) | {"PRE_COMMIT_HOME": str(tmp_path / "cache"), "GIT_CONFIG_GLOBAL": os.devnull}
    # What it would check, which needs no JAX: the model is checked above.
    config = {
        "repos": [
            {"repo": str(hooks), "rev": "HEAD", "hooks": [{"id": "gradscope", "args": ["--show-config"]}]}
        ]
    }
    (mine / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "pre_commit", "run", "-c", "config.yaml"]
    command += ["--all-files", "--verbose", "--hook-stage", "manual"]
    done = subprocess.run(command, cwd=mine, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("m.py" if code == 0 else '"error"') in done.stdout
