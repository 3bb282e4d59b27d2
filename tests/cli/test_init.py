"""`gradscope init` writes files that run and that gradscope finds healthy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradscope.cli.init import Framework
from gradscope.records.options import LoadOptions
from tests.cli.conftest import Run

os.environ.setdefault("KERAS_BACKEND", "jax")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize("framework", list(Framework))
def test_the_file_is_healthy_and_short(run: Run, framework: Framework) -> None:
    from gradscope.runs.check import check

    name = f"{framework.value.replace('-', '_')}_start.py"
    result = run("init", name, "--framework", framework.value)
    assert (result.code, result.err) == (0, "")
    assert result.out == f"Wrote {name}. Now run: gradscope check {name}\n"
    assert len(Path(name).read_text().splitlines()) <= 50
    report = check(name, LoadOptions())
    assert report.findings == ()
    assert not [skipped for skipped in report.skipped if "optimizer" in skipped.what]
    measurement = report.flow
    assert len(measurement.layers) == 3
    assert all(parameter.update_rms for parameter in measurement.parameters)
    if framework is not Framework.PLAIN:
        assert all(layer.kind for layer in measurement.layers)


@pytest.mark.parametrize("framework", list(Framework))
def test_the_file_is_formatted_as_ruff_would(run: Run, framework: Framework) -> None:
    run("init", "model.py", "--framework", framework.value)
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "E,F,I",
        "--line-length",
        "110",
    ]
    found = subprocess.run([*command, "model.py"], capture_output=True, text=True, check=False)
    if "No module named ruff" in found.stderr:
        pytest.skip("ruff is not installed beside these tests")
    assert found.returncode == 0, found.stdout


def test_a_file_that_exists_is_not_touched(run: Run) -> None:
    Path("model.py").write_text("mine")
    result = run("init")
    assert result.code == 2
    assert "The file model.py already exists." in result.err
    assert Path("model.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["nowhere/model.py", "model.txt"])
def test_a_name_that_cannot_be_written_is_refused(run: Run, name: str) -> None:
    result = run("init", name)
    assert result.code == 2
    assert name in result.err.replace("\n", "")


def test_an_unknown_framework_is_answered_with_the_names(run: Run) -> None:
    result = run("init", "--framework", "torch")
    assert result.code == 2
    assert "flax-linen" in result.err


def test_a_library_that_is_missing_is_told_with_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradscope.cli.init.find_spec", lambda name: None)
    result = run("init", "--framework", "flax-nnx")
    assert result.code == 0
    assert "gradscope-jax[flax]" in result.err
