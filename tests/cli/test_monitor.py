"""`gradscope monitor`, its recording, and `gradscope report` of that, on files of a user."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gradscope
from gradscope.recording.file import Recording, read
from gradscope.records import Ending
from tests.cli.conftest import Run
from tests.recording.made import heading, step

MODEL = """
import jax, jax.numpy as jnp, numpy as np, optax

draw = np.random.default_rng(0)
params = {{"w": draw.normal(size=(4, 2)).astype(np.float32), "b": np.zeros(2, np.float32)}}
x = draw.normal(size=(16, 4)).astype(np.float32)
batch = {{"x": x, "y": np.sin(x[:, :2])}}
optimizer = {optimizer}

def loss_fn(params, batch):
    return {loss}
"""
MSE = 'jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2)'


pytestmark = pytest.mark.usefixtures("no_preparation")


def model(tmp_path: Path, optimizer: str = "optax.adam(0.05)", loss: str = MSE, more: str = "") -> str:
    path = tmp_path / "model.py"
    path.write_text(MODEL.format(optimizer=optimizer, loss=loss) + more)
    return str(path)


def test_a_training_is_reported_recorded_and_read_again(run: Run, tmp_path: Path) -> None:
    target, record = model(tmp_path), tmp_path / "run.jsonl"
    result = run("monitor", target, "--steps", "60", "--record", str(record), "--format", "json")
    report = json.loads(result.out)
    assert (result.code, report["verdict"]) == (0, "healthy")
    assert report["history"]["ending"] == "complete"
    assert report["history"]["mean_losses"][-1] < report["history"]["mean_losses"][0]
    assert [layer["name"] for layer in report["history"]["layers"]] == ["w"]
    assert report["flow"]["loss"] == report["history"]["mean_losses"][0]
    again = json.loads(run("report", str(record), "--format", "json").out)
    assert again["history"] == report["history"]
    assert again["tool"] == report["tool"]
    assert again["flow"] is None


def test_a_training_fails_only_on_what_its_baseline_does_not_have(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    target, base = model(tmp_path, "optax.sgd(1e6)"), str(tmp_path / "base.json")
    words = ("monitor", target, "--steps", "40")
    assert run(*words).code == 1
    written = run(*words, "--write-baseline", base)
    assert written.code == 0
    assert f"wrote {base}: " in written.err
    assert run(*words, "--baseline", base).code == 0
    known = json.loads(run(*words, "--baseline", base, "--format", "json").out)
    assert {finding["baseline_status"] for finding in known["findings"]} == {"unchanged"}
    healthy = model(tmp_path, "optax.adam(0.05)")
    assert "fixed" in run("monitor", healthy, "--steps", "40", "--baseline", base).out


@pytest.mark.parametrize("option", ["--baseline", "--write-baseline"])
def test_a_baseline_belongs_to_a_training_of_its_own(run: Run, tmp_path: Path, option: str) -> None:
    result = run("monitor", "--follow", str(tmp_path / "run.jsonl"), option, "base.json")
    assert (result.code, '"base.json" stands beside --follow' in result.err) == (2, True)


def test_a_training_that_breaks_is_an_error_with_its_step(run: Run, tmp_path: Path) -> None:
    record = tmp_path / "run.jsonl"
    target = model(tmp_path, "optax.sgd(1e6)")
    result = run("monitor", target, "--steps", "60", "--record", str(record))
    assert result.code == 1
    assert "error diverging-loss" in result.out
    assert "step 6 would make parameters" in " ".join(result.out.split())
    assert read(str(record))[1].ending is Ending.NOT_FINITE
    saved = run("report", str(record), "--fail-on", "diverging-loss")
    assert (saved.code, "step 6 would make" in " ".join(saved.out.split())) == (1, True)
    assert run("report", str(record), "--fail-on", "never").code == 0


def test_a_nan_that_is_born_in_training_is_told_with_its_line_and_step(run: Run, tmp_path: Path) -> None:
    target = model(
        tmp_path, "optax.sgd(0.5)", 'jnp.mean(jnp.log(1 + jnp.abs(params["b"] - 1) - params["w"][0]))'
    )
    text = " ".join(run("monitor", target, "--steps", "80").out.split())
    assert "error non-finite" in text
    assert "At step" in text
    assert "`log` at" in text


def test_a_loss_that_is_nan_before_the_first_step_points_to_its_origin(run: Run, tmp_path: Path) -> None:
    target = model(tmp_path, loss='jnp.sum(jnp.sqrt(params["b"] - 1))')
    result = run("monitor", target)
    assert result.code == 1
    assert "`sqrt` at -1" in result.out
    assert "training: the loss is not finite before the first step" in " ".join(result.out.split())


def test_batches_that_end_early_and_repeat(run: Run, tmp_path: Path) -> None:
    target = model(tmp_path, more="\nfirst = batch\ndel batch\nbatches = iter([first] * 5)\n")
    ended = json.loads(run("monitor", target, "--steps", "20", "--format", "json").out)["history"]
    assert (ended["ending"], ended["steps"]) == ("data-ended", 5)
    whole = json.loads(run("monitor", target, "--steps", "20", "--repeat", "--format", "json").out)["history"]
    assert (whole["ending"], whole["steps"], whole["batches_per_pass"]) == ("complete", 20, 5)


def test_an_optimizer_that_fails_is_one_error(run: Run, tmp_path: Path) -> None:
    more = "\ndef update(*args, **kwargs):\n    raise RuntimeError('no')\n"
    more += "optimizer = optax.GradientTransformation(lambda p: (), update)\n"
    result = run("monitor", model(tmp_path, more=more))
    assert result.code == 2
    assert "RuntimeError: no" in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_options_are_checked_before_anything_runs(run: Run, tmp_path: Path) -> None:
    record = tmp_path / "run.jsonl"
    record.write_text("mine\n")
    target = model(tmp_path)
    for arguments, said in [
        (["monitor"], "There is no TARGET"),
        (["monitor", target, "--steps", "0"], "--steps"),
        (["monitor", target, "--every", "0"], "--every"),
        (["monitor", target, "--follow", str(record)], "stands beside --follow"),
        (["monitor", target, "--select", "nonsense"], "nonsense"),
        (["monitor", target, "--record", str(record)], "exists already"),
        (["monitor", "--follow", str(record)], "is not a recording"),
        (["report", str(record)], "is not a report"),
    ]:
        result = run(*arguments)
        assert (result.code, said in result.err) == (2, True), arguments
    assert record.read_text() == "mine\n"


def test_a_run_that_ends_is_followed_to_its_end(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Recording(str(path), heading()) as recording:
        for number in range(60):
            recording.add(step(number, loss=1.0))
        recording.end(Ending.COMPLETE, 60)
    result = run("monitor", "--follow", str(path), "--fail-on", "loss-not-decreasing")
    assert result.code == 1
    assert "loss-not-decreasing" in result.out


WRITER = """
import sys, time
from gradscope.recording.file import Recording
from gradscope.records import Ending
from tests.recording.made import heading, step
with Recording(sys.argv[1], heading()) as recording:
    for number in range(40):
        recording.add(step(number, loss=1.0 / (number + 1)))
        time.sleep(0.02)
    recording.end(Ending.COMPLETE, 40)
"""


def test_a_run_is_followed_while_it_is_written(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    while not path.exists() or not path.stat().st_size:
        time.sleep(0.01)
    found = json.loads(run("monitor", "--follow", str(path), "--format", "json").out)["history"]
    writer.wait()
    assert (found["steps"], found["ending"]) == (40, "complete")


def in_a_process(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gradscope", "monitor", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def until_recorded(path: Path, lines: int) -> None:
    for _ in range(600):
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} has no {lines} lines")


def test_ctrl_c_ends_with_what_is_known(tmp_path: Path) -> None:
    record = tmp_path / "run.jsonl"
    process = in_a_process(model(tmp_path), "--steps", "10000000", "--every", "1", "--record", str(record))
    until_recorded(record, 20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "layer" in out
    assert read(str(record))[1].ending is Ending.INTERRUPTED


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_kill_9_leaves_a_recording_that_is_read(run: Run, tmp_path: Path, seed: int) -> None:
    record = tmp_path / "run.jsonl"
    process = in_a_process(model(tmp_path), "--steps", "10000000", "--every", "1", "--record", str(record))
    until_recorded(record, 2)
    time.sleep(random.Random(seed).uniform(0, 0.5))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    lines = record.read_bytes().count(b"\n")
    found = json.loads(run("report", str(record), "--format", "json").out)["history"]
    assert (found["ending"], found["steps"]) == ("running", lines - 1)


def test_a_recording_is_exported_as_tables(run: Run, tmp_path: Path) -> None:
    record, table = tmp_path / "run.jsonl", tmp_path / "run.csv"
    with Recording(str(record), heading()) as recording:
        for number in range(3):
            recording.add(step(number))
        recording.end(Ending.COMPLETE, 3)
    assert run("report", str(record), "--export", f"csv={table}", "--fail-on", "never").code == 0
    assert table.read_text().splitlines()[1] == "model.py,0,0,,loss,1.0,1.0"
    again = gradscope.load_report(record)
    assert again.history is not None
    assert len(again.history.to_rows()) == len(table.read_text().splitlines()) - 1
    for option, complaint in (
        ("xlsx=a.xlsx", 'There is no format "xlsx"'),
        ("csv", "does not name a format and a file"),
        (f"csv={record}", "would overwrite an input"),
    ):
        result = run("report", str(record), "--export", option)
        assert result.code == 2
        assert complaint in result.err
