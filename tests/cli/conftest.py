"""Runs commands in this process, with a stand-in for the part that needs JAX."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import gradscope.runs
from gradscope.cli.app import main
from gradscope.errors import GradscopeError
from gradscope.gate.baseline_file import Baseline
from gradscope.records import FailureKind, Outcome, Policy, Report, Suite, TargetError
from gradscope.records.options import CheckOptions, LoadOptions, Task
from gradscope.serialization import report_json
from gradscope.serialization.suite_json import outcome_of
from tests.report.canned import healthy


@dataclass
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        code = caught.value.code
        captured = capsys.readouterr()
        return Result(0 if code is None else int(code), captured.out, captured.err)

    return run


@dataclass
class Pipeline:
    """What `gradscope.runs.check` answers in a test, and what it was asked."""

    answer: Report | BaseException = field(default_factory=healthy)
    prints: str = ""
    does: Callable[[], object] = lambda: None
    """What the user's file does besides."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    baselines: list[Mapping[str, Baseline]] = field(default_factory=list)
    """What each run was given, read."""
    jobs: list[int | None] = field(default_factory=list)
    """What `gradscope.processes` was asked for, run by run."""

    def check(self, target: str, loading: LoadOptions, options: CheckOptions, *, progress: Any) -> Report:
        self.asked.append({"target": target, "loading": loading, "options": options})
        progress("loading model.py")
        if self.prints:
            print(self.prints)
        self.does()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def judged(
        self,
        tasks: Sequence[Task],
        *,
        alone: bool,
        jobs: int | None = None,
        baselines: Mapping[str, Baseline],
        progress: Any,
        echo: Any,
        peers: Any = None,
    ) -> Suite:
        self.baselines.append(baselines)
        if alone:
            (task,) = tasks
            report = self.check(task.path, task.loading, task.checking, progress=progress)
            return Suite((outcome_of(task, report_json.rounded(report)),), alone=True)
        self.jobs.append(jobs)
        return Suite(tuple(self._outcome(task, progress) for task in tasks))

    def _outcome(self, task: Task, progress: Any) -> Outcome:
        policy = Policy(task.fail_on)
        try:
            report = self.check(task.path, task.loading, task.checking, progress=progress)
        except GradscopeError as error:
            return Outcome(task.target, None, TargetError(FailureKind.INPUT, error.what), policy)
        return Outcome(task.target, replace(report, target=task.target), policy=policy)


@pytest.fixture
def no_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would change the settings of the process that runs the tests."""
    monkeypatch.setattr("gradscope.processes.prepare.prepare_process", lambda: None)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    stand_in = Pipeline()
    module = ModuleType("gradscope.runs.check")
    module.check = stand_in.check  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gradscope.runs.check", module)
    monkeypatch.setattr(gradscope.runs, "check", module, raising=False)
    several = ModuleType("gradscope.processes")
    several.judged = stand_in.judged  # type: ignore[attr-defined]
    several.prepare = SimpleNamespace(prepare_process=lambda: None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gradscope.processes", several)
    monkeypatch.setattr(gradscope, "processes", several, raising=False)
    return stand_in
