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
from gradscope.cli.options import seconds_in
from gradscope.errors import GradscopeError
from gradscope.records import Comparison, Report
from gradscope.records.options import CompareOptions
from gradscope.runs.optimizers import judged_against
from gradscope.serialization import report_json
from tests.cli.conftest import Run
from tests.report.canned import compared, healthy, searched
from tests.rules.optimizer.test_optimizer_regression import ended as comparison_that_ended

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

    def compare_optimizers(
        self,
        target: str,
        loading: Any,
        terms: CompareOptions,
        *,
        against: Any,
        limits: Any,
        progress: Any,
        begun: float,
    ) -> Report:
        print("the file prints")
        self.asked.append(terms)
        return self.answer if against is None else judged_against(self.answer, against, limits)

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
    more = (
        "--target 0.5 --schedule cosine --clip 1 --exhaustive --vmap off --updates --widths 8,16 --starts 3"
    )
    assert run("compare-optimizers", "model.py", *options.split(), *more.split()).code == 0
    (asked,) = comparing.asked
    named = "adam", "lion", "muon"
    few = CompareOptions(named, 30, 2, 4, 60.0, 0.5, "cosine", 1.0, True, "off")
    assert asked == replace(few, updates=True, widths=(8, 16), starts=3)


@pytest.mark.parametrize(
    "options",
    [
        ["--budget", "soon"],
        ["--schedule", "linear"],
        ["--vmap", "maybe"],
        ["--clip", "0"],
        ["--widths", "64,wide"],
        ["--starts", "1"],
        ["--fail-on", "eror"],
        ["--fail-on", "optimizer-regression"],
        ["--fail-on", "regression:0%", "--against", "RUN"],
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
    assert "lowest of 4" in result.out
    assert "optax.adam(0.01)" in result.out
    assert "to target" not in result.out


def test_an_interrupted_comparison_is_shown_and_answers_130(run: Run, comparing: StandIn) -> None:
    whole = optimizers_of(compared())
    comparing.answer = with_optimizers(replace(whole, complete=False))
    result = run("compare-optimizers", "model.py")
    assert result.code == 130
    assert "adam" in result.out


def test_a_comparison_that_its_budget_ended_fails_only_a_gate(
    run: Run, comparing: StandIn, tmp_path: Path
) -> None:
    saved = str(tmp_path / "run.json")
    report_json.save(compared(), saved)
    ended = replace(optimizers_of(compared()), complete=False, budget_spent_s=60.0)
    comparing.answer = with_optimizers(ended)
    assert run("compare-optimizers", "model.py").code == 0
    gated = run("compare-optimizers", "model.py", "--against", saved)
    assert gated.code == 2
    assert "the comparison ended with its budget" in gated.out


def test_the_range_test_gets_its_options(run: Run, comparing: StandIn) -> None:
    assert run("find-lr", "model.py", "--optimizer", "adam", "--seeds", "9").code == 0
    (asked,) = comparing.asked
    assert (asked["optimizer"], asked["seeds"], asked["steps"]) == ("adam", 9, None)
    assert "optax.adam(0.01)" in run("find-lr", "model.py", "--quiet").out


def optimizers_of(report: Report) -> Comparison:
    assert report.optimizers is not None
    return report.optimizers


def with_optimizers(found: Comparison) -> Report:
    return replace(compared(), optimizers=found)


def ended(final: float, spread: float = 0.0, **more: Any) -> Report:
    """The canned run (start 2), with the user's optimizer at another final loss."""
    return with_optimizers(comparison_that_ended(final, spread, **more))


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
    plain = run("compare-optimizers", "model.py", "--against", saved)
    assert plain.code == code, "5% is the rule's own limit"
    assert run("compare-optimizers", "model.py", "--against", saved, "--fail-on", "never").code == 0


def test_every_format_the_saved_run_and_the_exit_code_tell_the_same(
    run: Run, comparing: StandIn, tmp_path: Path
) -> None:
    before, saved = str(tmp_path / "before.json"), str(tmp_path / "now.json")
    report_json.save(ended(1.0), before)
    comparing.answer = ended(1.06)
    files = {
        name: tmp_path / name for name in ("json", "sarif", "junit", "github", "gitlab", "markdown", "html")
    }
    more = [part for name, path in files.items() for part in ("--report", f"{name}={path}")]
    gate = ["--against", before, "--fail-on", "regression:5%"]
    assert run("compare-optimizers", "model.py", *gate, *more, "--save", saved).code == 1
    text = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    found = json.loads(text["json"])
    assert (found["verdict"], found["fail_on"]) == ("sick", ["optimizer-regression"])
    assert [finding["rule"] for finding in found["findings"]] == ["optimizer-regression"]
    (result,) = json.loads(text["sarif"])["runs"][0]["results"]
    assert result["properties"]["failsTheGate"]
    assert 'failures="1"' in text["junit"]
    assert "::error title=gradscope (optimizer-regression)" in text["github"]
    assert json.loads(text["gitlab"])[0]["check_name"] == "optimizer-regression"
    assert "**optimizer-regression**" in text["markdown"]
    assert "optimizer-regression" in text["html"]
    again = run("report", saved)
    assert again.code == 1
    assert "error optimizer-regression" in again.out
    assert run("report", saved, "--fail-on", "never").code == 0


def test_what_has_not_got_worse_is_a_note_and_a_passed_case_of_junit(
    run: Run, comparing: StandIn, tmp_path: Path
) -> None:
    before = str(tmp_path / "before.json")
    report_json.save(ended(1.0), before)
    comparing.answer = ended(1.04)
    shown = json.loads(run("compare-optimizers", "model.py", "--against", before, "--format", "json").out)
    assert shown["findings"] == []
    assert shown["rules"] == ["optimizer-regression"]
    assert "4.0% of its improvement lost" in shown["notes"][-1]
    cases = run("compare-optimizers", "model.py", "--against", before, "--format", "junit").out
    assert 'name="optimizer-regression" file="model.py" line="1" />' in cases
    assert 'tests="1" failures="0"' in cases


@pytest.mark.parametrize("fail_on", ["regression:2%", "warning,regression:2%"])
def test_the_limit_is_that_of_the_command_line(
    run: Run, comparing: StandIn, tmp_path: Path, fail_on: str
) -> None:
    before = str(tmp_path / "before.json")
    report_json.save(ended(1.0), before)
    comparing.answer = ended(1.04)
    result = run("compare-optimizers", "model.py", "--against", before, "--fail-on", fail_on)
    assert result.code == 1
    assert "More than the limit of 2%" in " ".join(result.out.split())


def test_an_interrupted_comparison_is_not_compared_with_the_saved_run(
    run: Run, comparing: StandIn, tmp_path: Path
) -> None:
    before = str(tmp_path / "before.json")
    report_json.save(ended(1.0), before)
    comparing.answer = ended(9.0, complete=False, users=None)
    result = run("compare-optimizers", "model.py", "--against", before)
    assert result.code == 130
    assert "interrupted" in " ".join(result.out.split())


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


def test_a_run_of_another_command_is_no_comparison(run: Run, comparing: StandIn, tmp_path: Path) -> None:
    saved = str(tmp_path / "run.json")
    report_json.save(healthy(), saved)
    result = run("compare-optimizers", "model.py", "--against", saved)
    assert result.code == 2
    assert "holds no comparison" in result.err


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
    assert ("optimizer = optimizer" in done.stdout) == known
    assert saved.exists() == known
    if known:
        assert not optimizers_of(report_json.load(str(saved))).complete
