"""What a user's file does to the process of the command, and that the result is none the worse for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from gradscope.gate import baseline_file
from tests.cli.conftest import Pipeline, Run


def test_files_are_written_where_the_command_was_called(
    run: Run, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("model.py").touch()
    pipeline.does = lambda: os.chdir(tmp_path / "elsewhere")
    result = run(
        "check",
        *("model.py", "--output", "out.txt", "--report", "junit=out.xml", "--save", "run.json"),
        *("--write-baseline", "known.json"),
    )
    assert result.code == 0, result.err
    assert not list((tmp_path / "elsewhere").iterdir())
    assert {"out.txt", "out.xml", "run.json", "known.json"} <= {file.name for file in Path().iterdir()}
    assert list(baseline_file.load("known.json")) == ["model.py"]


def command(does: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`check` in a process of its own, with a file that does this and no JAX."""
    code = textwrap.dedent(STAND_IN).format(does=textwrap.indent(textwrap.dedent(does), "    "))
    return subprocess.run(
        [sys.executable, "-c", code, "check", "model.py", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


STAND_IN = """
import ctypes, os, subprocess, sys, threading, time
import gradscope.processes.prepare, gradscope.processes.road
from tests.report.canned import healthy
def check(target, loading, options, *, baseline, progress):
{does}
    return healthy()
gradscope.processes.road.check = check
gradscope.processes.prepare.prepare_process = lambda: None
from gradscope.cli.app import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="the shell and the C library of Unix")
def test_whatever_way_a_file_prints_the_result_is_alone_on_stdout() -> None:
    done = command(
        """
        print("by print")
        sys.__stdout__.write("by the stream itself\\n")
        os.system("echo by the shell")
        subprocess.run(["echo", "by a process"])
        ctypes.CDLL(None).puts(b"by C")
        """,
        *("--format", "json"),
    )
    assert json.loads(done.stdout)["verdict"] == "healthy"
    assert sorted(done.stderr.splitlines()) == [
        "by C",
        "by a process",
        "by print",
        "by the shell",
        "by the stream itself",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no forks")
@pytest.mark.parametrize("ends", ["pass", "raise ValueError('in the fork')"])
def test_a_fork_that_a_file_makes_writes_no_result_of_its_own(ends: str) -> None:
    done = command(f"if not os.fork():\n    {ends}\nelse:\n    os.wait()", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["verdict"] == "healthy"


def test_a_thread_that_never_ends_does_not_keep_the_command_from_ending() -> None:
    begun = time.monotonic()
    done = command("threading.Thread(target=lambda: time.sleep(50)).start()", "--fail-on", "never")
    assert time.monotonic() - begun < 40
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("✓ healthy")


def test_what_is_done_at_exit_is_done_where_a_pool_of_threads_waits() -> None:
    done = command(
        """
        import atexit, concurrent.futures
        global pool
        pool = concurrent.futures.ThreadPoolExecutor(1)
        pool.submit(int).result()
        atexit.register(lambda: print("done at exit", file=sys.stderr))
        """
    )
    assert (done.returncode, done.stderr) == (0, "done at exit\n")


def test_ctrl_c_while_the_garbage_collector_calls_back_is_not_lost() -> None:
    done = command(
        """
        class Collected:
            def __del__(self):
                os.kill(os.getpid(), 2)
                time.sleep(0.1)
        Collected()
        time.sleep(600)
        """
    )
    assert done.returncode == 130, done.stderr
