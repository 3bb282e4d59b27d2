"""What only a process of its own shows: what is imported, pipes, terminals."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gradscope.serialization import report_json
from tests.report.canned import deep

HEAVY = ("jax", "jaxlib", "numpy", "optax")
GUARD = """
import json, sys
from gradscope.cli.app import main
{extra}
try:
    main({arguments!r})
except SystemExit:
    pass
print(json.dumps(sorted(set({heavy!r}) & set(sys.modules))), file=sys.stderr)
"""


def heavy_imports(*arguments: str, extra: str = "", heavy: tuple[str, ...] = HEAVY) -> list[str]:
    code = GUARD.format(arguments=list(arguments), heavy=heavy, extra=extra)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported: list[str] = json.loads(done.stderr.splitlines()[-1])
    return imported


@pytest.fixture
def saved(tmp_path: Path) -> str:
    path = str(tmp_path / "run.json")
    report_json.save(deep(), path)
    return path


@pytest.mark.parametrize(
    "command", ["--help", "--version", "check --help", "rules", "explain non-finite", "report RUN"]
)
def test_what_needs_no_jax_does_not_import_it(command: str, saved: str) -> None:
    assert heavy_imports(*command.replace("RUN", saved).split()) == []


@pytest.mark.parametrize("command", ["explain non-finite", "report RUN", "check model.py --select nonsense"])
def test_text_and_flags_are_read_without_a_validator(command: str, saved: str) -> None:
    assert heavy_imports(*command.replace("RUN", saved).split(), heavy=("pydantic",)) == []


def test_a_wrong_option_is_told_without_importing_jax() -> None:
    assert heavy_imports("check", "model.py", "--select", "nonsense") == []


@pytest.mark.parametrize("command", ["--help", "--version", "explain non-finite", "explain table"])
def test_what_shows_a_page_imports_no_record_and_no_rule(command: str) -> None:
    assert heavy_imports(*command.split(), heavy=("gradscope.records", "gradscope.rules.numerics")) == []


def test_the_guard_on_imports_can_fail() -> None:
    assert "numpy" in heavy_imports("--help", extra="import numpy")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from gradscope.cli.app import main; main()", *arguments]


def test_a_reader_that_leaves_early_is_no_error(saved: str) -> None:
    process = subprocess.Popen(
        command("report", saved, "--all", "--format", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1, "the gate still speaks"
    assert said == b""


@pytest.mark.parametrize(
    ("closed", "file", "code"), [(1, "run.json", 0), (2, "run.json", 0), (2, "absent", 2)]
)
def test_a_stream_that_is_closed_is_no_finding(saved: str, closed: int, file: str, code: int) -> None:
    arguments = command("report", str(Path(saved).with_name(file)), "--fail-on", "never")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert ("deep.py" in done.stdout) is (closed == 2 and code == 0)


def test_an_ascii_stream_can_show_every_name(saved: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("report", saved), capture_output=True, env=environment, check=False)
    assert done.returncode == 1
    assert b"delta" in done.stdout
    assert done.stdout.isascii()


SLOW = """
import sys, time
import gradscope.processes.prepare, gradscope.processes.road
from tests.report.canned import healthy
def check(target, loading, options, *, baseline, progress):
    progress("loading [bold]model.py\\x1b[2J")
    time.sleep({seconds})
    return healthy()
gradscope.processes.road.check = check
gradscope.processes.prepare.prepare_process = lambda: None
from gradscope.cli.app import main
main(["check", "model.py", *sys.argv[1:]])
"""


def on_terminal(seconds: float, *arguments: str, stderr_is_terminal: bool = True) -> tuple[str, str]:
    """Stdout in a pipe and stderr on a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(seconds=seconds), *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs if stderr_is_terminal else subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    os.close(theirs)
    assert process.stdout is not None
    result = process.stdout.read().decode()
    process.stdout.close()
    said = process.stderr.read() if process.stderr else b""
    if process.stderr:
        process.stderr.close()
    process.wait()
    while stderr_is_terminal:
        try:
            said += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    return result, said.decode()


def test_a_long_run_says_what_it_does_and_wipes_it() -> None:
    result, said = on_terminal(1.5)
    assert result.startswith("✓ healthy")
    assert "loading [bold]model.py\\x1b[2J" in said
    assert "1 s" in said
    assert said.rstrip().endswith(("\x1b[2K", "\x1b[?25h")), "the line is gone and the cursor is back"


@pytest.mark.parametrize("arguments", [("--no-progress",), ("--quiet",)])
def test_progress_can_be_switched_off(arguments: tuple[str, ...]) -> None:
    assert on_terminal(0.6, *arguments)[1] == ""


def test_a_short_run_shows_no_progress() -> None:
    assert on_terminal(0.0)[1] == ""


def test_there_is_no_progress_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI systems set it, whose logs would keep every frame
    assert on_terminal(0.6, stderr_is_terminal=False)[1] == ""
