"""Runs commands in this process, with a stand-in for the part that needs JAX."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

import gradscope
from gradscope.cli.app import main
from gradscope.options import CheckOptions, LoadOptions
from gradscope.records import Report
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
    """What `gradscope.pipeline` answers in a test, and what it was asked."""

    answer: Report | BaseException = field(default_factory=healthy)
    prints: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def check(self, target: str, loading: LoadOptions, options: CheckOptions, *, progress: Any) -> Report:
        self.asked.append({"target": target, "loading": loading, "options": options})
        progress("loading model.py")
        if self.prints:
            print(self.prints)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    stand_in = Pipeline()
    module = ModuleType("gradscope.pipeline")
    module.check = stand_in.check  # type: ignore[attr-defined]
    module.prepare_process = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gradscope.pipeline", module)
    monkeypatch.setattr(gradscope, "pipeline", module, raising=False)
    return stand_in
