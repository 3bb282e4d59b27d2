"""`compare-optimizers` and `find-lr` as a user runs them: options, the gate, and processes of their own."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import gradscope.runs
from gradscope.cli.compare_optimizers import seconds_in
from gradscope.errors import GradscopeError
from gradscope.gate.policy import regression
from gradscope.records import Comparison, Report
from gradscope.records.options import CompareOptions
from gradscope.serialization import report_json
from tests.cli.conftest import Run
from tests.report.canned import compared, healthy, searched

FILE = """
import jax, jax.numpy as jnp, numpy as np, optax

print("the file prints")


def init(key):
    return {"w": jax.random.normal(key, (2,))}


def loss_fn(params, batch):
    return jnp.sum(batch * params["w"] ** 2)


batch = np.array([1.0, 4.0], np.float32)
optimizer = optax.sgd(0.05)
"""


class StandIn:
    """What `gradscope.runs.optimizers` answers in a test, and what it was asked."""

    def __init__(self) -> None:
        self.answer: Report = compared()
        self.asked: list[Any] = []

    def compare_optimizers(self, target: str, loading: Any, terms: CompareOptions, progress: Any) -> Report:
        print("the file prints")
        self.asked.append(terms)
        return self.answer

    def find_lr(self, target: str, loading: Any, **options: Any) -> Report:
        self.asked.append(options)
        return searched()


@pytest.fixture
def comparing(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    module = ModuleType("gradscope.runs.optimizers")
    monkeypatch.setitem(sys.modules, "gradscope.runs.optimizers", module)
    monkeypatch.setattr(gradscope.runs, "optimizers", module, raising=False)
    monkeypatch.setattr("gradscope.processes.prepare.prepare_process", lambda: None)
    module.compare_optimizers = stand_in.compare_optimizers  # type: ignore[attr-defined]
    module.find_lr = stand_in.find_lr  # type: ignore[attr-defined]
    return stand_in


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("60s", 60), ("5m", 300), ("1.5h", 5400), (" 2 m ", 120)]
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "-5s", "nan", "inf", "5 days", "5sm", "s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(GradscopeError, match="is not a time") as caught:
        seconds_in(text)
    assert caught.value.slug == "bad-option"


def test_the_options_reach_the_comparison(run: Run, comparing: StandIn) -> None:
    options = "--optimizers adam,lion --optimizers muon --steps 30 --seeds 2 --lr-grid 4 --budget 1m"
    more = "--target 0.5 --schedule cosine --clip 1 --exhaustive --vmap off"
    assert run("compare-optimizers", "model.py", *options.split(), *more.split()).code == 0
    (asked,) = comparing.asked
    assert asked == CompareOptions(("adam", "lion", "muon"), 30, 2, 4, 60.0, 0.5, "cosine", 1.0, True, "off")


@pytest.mark.parametrize(
    "options",
    [
        ["--budget", "soon"],
        ["--schedule", "linear"],
        ["--vmap", "maybe"],
        ["--clip", "0"],
        ["--fail-on", "error"],
        ["--fail-on", "regression:5%"],
        ["--fail-on", "regression:5", "--against", "RUN"],
        ["--against", "nowhere.json"],
        ["--format", "pdf"],
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(
    run: Run, comparing: StandIn, options: list[str], tmp_path: Path
) -> None:
    saved = str(tmp_path / "run.json")
    report_json.save(compared(), saved)
    result = run("compare-optimizers", "model.py", *(saved if o == "RUN" else o for o in options))
    assert result.code == 2
    assert result.out == ""
    assert "error:" in result.err
    assert not comparing.asked


@pytest.mark.parametrize("format", ["terminal", "json", "markdown"])
def test_nothing_but_the_report_is_on_stdout(run: Run, comparing: StandIn, format: str) -> None:
    result = run("compare-optimizers", "model.py", "--format", format)
    assert "the file prints" not in result.out
    assert "the file prints" in result.err
    assert "optax.adam(0.01)" in result.out
    if format == "json":
        assert json.loads(result.out)["optimizers"]["contestants"][0]["trials"][0]["losses"]


def test_a_saved_comparison_is_shown_again_as_it_was(run: Run, comparing: StandIn, tmp_path: Path) -> None:
    saved = str(tmp_path / "run.json")
    first = run("compare-optimizers", "model.py", "--save", saved, "--all")
    assert run("report", saved, "--all").out == first.out
    assert "learning rate" in first.out


def test_quiet_leaves_the_verdict_and_the_line_to_paste(run: Run, comparing: StandIn) -> None:
    result = run("compare-optimizers", "model.py", "--quiet")
    assert "best of 4" in result.out
    assert "optax.adam(0.01)" in result.out
    assert "steps to" not in result.out


def test_an_interrupted_comparison_is_shown_and_answers_130(run: Run, comparing: StandIn) -> None:
    whole = optimizers_of(compared())
    comparing.answer = with_optimizers(replace(whole, complete=False))
    result = run("compare-optimizers", "model.py")
    assert result.code == 130
    assert "adam" in result.out


def test_the_range_test_gets_its_options(run: Run, comparing: StandIn) -> None:
    assert run("find-lr", "model.py", "--optimizer", "adam", "--seeds", "9").code == 0
    (asked,) = comparing.asked
    assert (asked["optimizer"], asked["seeds"], asked["steps"]) == ("adam", 9, None)
    assert "optax.adam(0.01)" in run("find-lr", "model.py", "--quiet").out


def optimizers_of(report: Report) -> Comparison:
    assert report.measurement.optimizers is not None
    return report.measurement.optimizers


def with_optimizers(found: Comparison) -> Report:
    return replace(compared(), measurement=replace(compared().measurement, optimizers=found))


def ended(final: float, spread: float = 0.0, **more: Any) -> Report:
    """The canned run (start 2), with the user's optimizer at another final loss."""
    found = optimizers_of(compared())
    rows = tuple(
        replace(row, final_loss=final, final_low=final - spread / 2, final_high=final + spread / 2)
        if row.name == "yours"
        else row
        for row in found.contestants
    )
    return with_optimizers(replace(found, contestants=rows, **more))


@pytest.mark.parametrize(
    ("now", "code", "words"),
    [
        (ended(1.0), 0, "within the spread"),
        (ended(1.04), 0, "4.0% of its improvement lost"),
        (ended(1.06), 1, "More than the limit of 5%"),
        (ended(1.06, spread=0.1), 0, "within the spread"),
        (ended(0.5), 0, "gained"),
        (ended(math.inf), 1, "it diverges"),
    ],
)
def test_the_gate_fails_on_what_is_clearly_worse(
    run: Run, comparing: StandIn, tmp_path: Path, now: Report, code: int, words: str
) -> None:
    saved = str(tmp_path / "run.json")
    report_json.save(ended(1.0), saved)
    comparing.answer = now
    result = run("compare-optimizers", "model.py", "--against", saved, "--fail-on", "regression:5%")
    assert result.code == code
    assert words in " ".join(result.out.split())
    assert run("compare-optimizers", "model.py", "--against", saved).code == 0, "without a limit it informs"


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (ended(1.0, steps=99), "--steps 99"),
        (ended(1.0, seeds=(0,)), "--seeds 1"),
        (ended(1.0, seeds=(5, 6, 7)), "--seeds 3 --seed 5"),
        (ended(1.0, users=None), "optimizer"),
    ],
)
def test_runs_on_other_terms_cannot_be_compared(
    run: Run, comparing: StandIn, tmp_path: Path, before: Report, words: str
) -> None:
    saved = str(tmp_path / "run.json")
    report_json.save(before, saved)
    result = run("compare-optimizers", "model.py", "--against", saved, "--fail-on", "regression:5%")
    assert result.code == 2
    assert words in result.err


def test_a_run_that_starts_from_another_loss_is_told_from_one_that_got_worse() -> None:
    before = optimizers_of(ended(1.0))
    text = regression(optimizers_of(ended(10.0, initial_loss=20.0)), before)[1]
    assert text.startswith("The loss starts at 20, in the saved run at 2: ")
    assert "batch size" in text
    same = regression(optimizers_of(ended(1.5, initial_loss=2.0001)), before)[1]
    assert same.startswith("The training loss of your optimizer ended at 1 ")


def test_a_run_of_another_command_is_no_comparison(run: Run, comparing: StandIn, tmp_path: Path) -> None:
    saved = str(tmp_path / "run.json")
    report_json.save(healthy(), saved)
    result = run("compare-optimizers", "model.py", "--against", saved)
    assert result.code == 2
    assert "holds no comparison" in result.err


def test_what_diverged_before_has_nothing_to_lose() -> None:
    before, now = optimizers_of(ended(math.inf)), optimizers_of(ended(math.inf))
    assert regression(now, before)[0] == 0.0
    assert regression(optimizers_of(ended(1.0)), before)[0] == 0.0


def test_a_run_that_had_not_improved_loses_all_by_getting_worse() -> None:
    assert regression(optimizers_of(ended(2.5)), optimizers_of(ended(2.0)))[0] == math.inf
    assert regression(optimizers_of(ended(1.5)), optimizers_of(ended(2.0)))[0] == -math.inf


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from gradscope.cli.app import main; main()", *arguments]


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def test_a_whole_run_and_its_gate_in_processes_of_their_own(model: str, tmp_path: Path) -> None:
    saved = str(tmp_path / "run.json")
    terms = ["--optimizers", "sgd,adam", "--steps", "30", "--seeds", "2", "--lr-grid", "3", "--no-progress"]
    first = subprocess.run(
        command("compare-optimizers", model, *terms, "--format", "json", "--save", saved),
        capture_output=True,
        text=True,
        check=False,
    )
    assert first.returncode == 0, first.stderr
    assert first.stderr == "the file prints\n"
    found = json.loads(first.stdout)["optimizers"]
    assert {row["name"] for row in found["contestants"]} == {"sgd", "adam", "yours"}
    assert found["steps"] == 30
    again = subprocess.run(
        command("compare-optimizers", model, *terms, "--against", saved, "--fail-on", "regression:5%"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert "within the spread" in " ".join(again.stdout.split())


INTERRUPTING = """
import os, signal

calls = []


def late(rate):
    calls.append(rate)
    if len(calls) == {call}:  # the first two ask whether it fits
        os.kill(os.getpid(), signal.SIGINT)
    return optax.sgd(rate)


candidates = {{"late": late}}
"""


@pytest.mark.parametrize(("call", "known"), [(3, True), (1, False)])
def test_ctrl_c_shows_what_is_known_and_answers_130(
    model: str, tmp_path: Path, call: int, known: bool
) -> None:
    Path(model).write_text(FILE + INTERRUPTING.format(call=call), encoding="utf-8")
    saved = tmp_path / "run.json"
    terms = ["--optimizers", "adam,late", "--steps", "20", "--seeds", "1", "--save", str(saved)]
    done = subprocess.run(
        command("compare-optimizers", model, *terms), capture_output=True, text=True, check=False
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert ("Interrupted before there was anything to report" in done.stderr) == (not known)
    assert ("The comparison was interrupted" in done.stdout) == known
    assert ("optax.adam(" in done.stdout) == known
    assert saved.exists() == known
    if known:
        assert not optimizers_of(report_json.load(str(saved))).complete
