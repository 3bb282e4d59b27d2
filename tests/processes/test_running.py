"""Targets in processes of their own: what one of them does is told of it, and of no other."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradscope.processes import ending, prepare, run, scheduling, starting
from gradscope.records import FailureKind, Outcome, Policy, Suite, Timing
from gradscope.records.options import CheckOptions, LoadOptions, Task
from gradscope.serialization import report_json, suite_json
from tests.report import canned

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are ended by signals")

HEALTHY = """
import os, sys
import jax, jax.numpy as jnp, numpy as np

print("a line that nobody needs to see")
assert __name__ != "__main__" and not hasattr(sys.modules["__main__"], "__file__")
assert not {"flax", "equinox", "haiku", "keras", "torch"} & sys.modules.keys()
assert "--xla_backend_optimization_level=0" in os.environ["XLA_FLAGS"]
assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
assert len(jax.devices()) == int(os.environ["XLA_FLAGS"].split("device_count=")[1].split()[0])
w = jnp.asarray(np.random.default_rng(0).normal(size=(8, 1)).astype(np.float32))
params, batch = {"w": w}, (np.ones((4, 8), np.float32), np.ones((4, 1), np.float32))

def loss_fn(params, batch):
    return jnp.mean((batch[0] @ params["w"] - batch[1]) ** 2)
"""
SICK = HEALTHY + "\nparams['unused'] = w\n"
FILES = {
    "loops_traced.py": """
import numpy as np

params, batch = {"w": np.ones(3, np.float32)}, np.ones(3, np.float32)

def loss_fn(params, batch):
    while True: pass
""",
    "loops.py": "def wait():\n    while True:\n        pass\n\nwait()\n",
    "healthy.py": HEALTHY,
    "sick.py": SICK,
    "syntax.py": "def loss_fn(\n",
    "leaves.py": "import sys\n\nsys.exit(4)\n",
    "exits.py": "import os\n\nprint('good bye')\nos._exit(3)\n",
    "killed.py": "import os, signal\n\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "crashes.py": "import ctypes\n\ndef crash():\n    ctypes.string_at(0)\n\ncrash()\n",
    "leaves_a_child.py": """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(__file__ + ".pid", "w").write(str(child.pid))
"""
    + HEALTHY,
}
SECONDS = {"loops.py": 1.0, "loops_traced.py": 4.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("targets")
    for name, text in FILES.items():
        (place / name).write_text(text)
    return place


@pytest.fixture(scope="module")
def tasks(folder: Path) -> Sequence[Task]:
    found = [
        Task(f"nets/{name}", str(folder / name), LoadOptions(timeout=SECONDS.get(name)), fail_on=("warning",))
        for name in FILES
    ]
    bug = CheckOptions(limits={"vanishing-gradient": {"ratio": "no number"}})  # type: ignore[dict-item]
    return [
        *found,
        Task("none.py", str(folder / "none.py")),
        Task("bug", str(folder / "healthy.py"), checking=bug),
    ]


@pytest.fixture(scope="module")
def suite(tasks: Sequence[Task]) -> Suite:
    return run(tasks, jobs=2, progress=lambda _: None)


@pytest.fixture
def of(suite: Suite, tasks: Sequence[Task]) -> dict[str, Outcome]:
    return {outcome.target.removeprefix("nets/"): outcome for outcome in suite.outcomes}


def test_outcomes_come_in_the_order_of_the_tasks_under_their_names(
    suite: Suite, tasks: Sequence[Task]
) -> None:
    assert [outcome.target for outcome in suite.outcomes] == [task.target for task in tasks]
    assert {outcome.report.target for outcome in suite.outcomes if outcome.report} == {
        "nets/healthy.py",
        "nets/sick.py",
        "nets/leaves_a_child.py",
    }
    assert suite.outcomes[0].policy == Policy(("warning",))


def test_what_can_be_judged_is_judged_as_in_a_process_of_its_own(of: dict[str, Outcome]) -> None:
    """The files themselves assert what a fresh process would find."""
    assert (of["healthy.py"].report, of["healthy.py"].error) != (None, None), of["healthy.py"].error
    assert [outcome.report.verdict for outcome in of.values() if outcome.report] == [
        "healthy",
        "sick",
        "healthy",
    ]


@pytest.mark.parametrize(
    ("target", "trouble", "told"),
    [
        ("none.py", FailureKind.INPUT, "There is no file"),
        ("syntax.py", FailureKind.INPUT, "syntax.py:1 is not valid Python"),
        ("leaves.py", FailureKind.INPUT, "sys.exit(4)"),
        ("exits.py", FailureKind.KILLED, "ended with exit status 3 while loading"),
        ("killed.py", FailureKind.KILLED, "killed with SIGKILL while loading"),
        ("crashes.py", FailureKind.KILLED, "crashed with SIGSEGV while loading"),
        ("loops.py", FailureKind.TIMEOUT, "longer than 1 s"),
        ("loops_traced.py", FailureKind.TIMEOUT, "longer than 4 s. It was tracing"),
        ("bug", FailureKind.BUG, "gradscope failed"),
    ],
)
def test_what_cannot_be_judged_says_why(
    of: dict[str, Outcome], target: str, trouble: FailureKind, told: str
) -> None:
    not_judged = of[target].error
    assert not_judged is not None
    assert not_judged.kind is trouble
    assert told in f"{not_judged.what} {not_judged.why}"
    assert not_judged.fix


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("crashes.py", "crashes.py:4 in crash\n    ctypes.string_at(0)"),
        ("loops.py", "in wait\n    while True:"),
        ("loops_traced.py", "in loss_fn\n    while True: pass"),
        ("exits.py", "printed last:\n  good bye"),
        ("bug", "task.checking.limits.vanishing-gradient.ratio"),
    ],
)
def test_the_details_show_where_it_was_and_what_was_printed_last(
    of: dict[str, Outcome], target: str, line: str
) -> None:
    not_judged = of[target].error
    assert not_judged is not None
    assert line in not_judged.details
    assert "site-packages" not in not_judged.details


def test_processes_that_the_users_code_started_are_ended(folder: Path, suite: Suite) -> None:
    assert suite.outcomes
    assert gone(int((folder / "leaves_a_child.py.pid").read_text()))


def test_the_number_of_jobs_changes_nothing(tasks: Sequence[Task], suite: Suite) -> None:
    few = [
        task
        for task in tasks
        if task.target in ("nets/healthy.py", "nets/sick.py", "nets/exits.py", "none.py")
    ]
    again = run(few, jobs=1, progress=lambda _: None)
    names = [task.target for task in few]
    before = Suite(tuple(outcome for outcome in suite.outcomes if outcome.target in names))
    assert suite_json.dumps(untimed(again)) == suite_json.dumps(untimed(before))


def test_a_child_with_an_interpreter_of_its_own_finds_the_same(
    tasks: Sequence[Task], suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way that is taken where forking is not safe."""
    monkeypatch.setattr("gradscope.processes.scheduling.best", lambda: starting.Spawner)
    few = [task for task in tasks if task.target in ("nets/sick.py", "nets/exits.py")]
    again = run(few, jobs=2, progress=lambda _: None)
    before = Suite(tuple(o for o in suite.outcomes if o.target in [task.target for task in few]))
    assert suite_json.dumps(untimed(again)) == suite_json.dumps(untimed(before))


class Late(starting.Spawner):
    """Hears of an end only some looks later, when there is nothing left to read of the child."""

    looks = 5

    def ended(self) -> Mapping[int, int]:
        for child in self._children.values():
            if child.poll() is not None and self.looks:
                self.looks -= 1
                return {}
        return super().ended()


def test_an_end_that_is_heard_of_late_is_no_timeout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradscope.processes.scheduling.best", lambda: Late)
    task = Task("exits", str(folder / "exits.py"), LoadOptions(timeout=20.0))
    (outcome,) = run([task], jobs=1, progress=lambda _: None).outcomes
    assert outcome.error is not None
    assert outcome.error.kind is FailureKind.KILLED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_run_itself_is_ended(folder: Path, tmp_path: Path, number: int) -> None:
    said = tmp_path / "pid"
    hangs = tmp_path / "hangs.py"
    hangs.write_text(
        f"import os, time\nopen({str(said)!r} + '~', 'w').write(f'{{os.getpid()}} {{os.getppid()}}')\n"
        f"os.rename({str(said)!r} + '~', {str(said)!r})\ntime.sleep(600)\n"
    )
    code = (
        "from gradscope.records.options import Task\nfrom gradscope.processes import run\n"
        f"run([Task('hangs', {str(hangs)!r})], jobs=1, progress=lambda _: None)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    until(said.exists)
    parent.send_signal(number)
    assert parent.wait(30) in (-signal.SIGINT, -signal.SIGKILL)
    for process in said.read_text().split():
        until(lambda process=process: gone(int(process)))


def test_a_server_that_is_killed_costs_its_targets_alone(folder: Path, tmp_path: Path) -> None:
    kills = tmp_path / "kills_the_server.py"
    kills.write_text("import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)\n")
    suite = run(
        [Task("kills", str(kills)), Task("healthy", str(folder / "healthy.py"))],
        jobs=1,
        progress=lambda _: None,
    )
    first, second = suite.outcomes
    assert first.error is not None
    assert first.error.kind is FailureKind.BUG
    assert second.report is not None


def test_a_fork_that_a_file_makes_answers_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error came first, and the target itself was ended as if that had been its own."""
    monkeypatch.setattr("gradscope.processes.watching.END_S", 0.2)
    forks = "import os, time\nif not os.fork():\n    raise ValueError('in the fork')\ntime.sleep(0.5)\n"
    (tmp_path / "forks.py").write_text(f"{forks}{SICK}")
    (outcome,) = run([Task("forks", str(tmp_path / "forks.py"))], jobs=1, progress=lambda _: None).outcomes
    assert outcome.report is not None, outcome.error
    assert outcome.report.verdict == "sick"


def test_progress_names_the_target_and_its_stage(folder: Path) -> None:
    heard: list[str] = []
    run([Task("syntax.py", str(folder / "syntax.py"))], jobs=1, progress=heard.append)
    assert heard[0] == "starting"
    assert f"0 of 1 target, syntax.py: loading {folder / 'syntax.py'}" in heard


def test_where_processes_cannot_be_ended_a_target_gets_the_same_settings_and_digits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Windows. JAX reads the settings when it is imported, which judging does."""
    called: list[str] = []
    exact = dataclasses.replace(canned.healthy(), target="a")
    exact = dataclasses.replace(exact, flow=dataclasses.replace(exact.flow, loss=1 / 3))
    monkeypatch.setattr("gradscope.processes.scheduling.os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(prepare, "prepare_process", lambda: called.append("prepared"))
    monkeypatch.setattr(scheduling, "judged", lambda *_: called.append("judged") or exact)
    (outcome,) = run([Task("a", "a.py")], progress=lambda _: None).outcomes
    assert called == ["prepared", "judged"]
    assert outcome.report == report_json.rounded(exact) != exact


def test_without_targets_nothing_is_started() -> None:
    assert run([], progress=lambda _: None) == Suite(())


def test_signals_are_told_by_name() -> None:
    assert "SIGTERM" in ending.killed(-15, "compiling", "").what
    assert "signal 63" in ending.killed(-63, "compiling", "").what


def untimed(suite: Suite) -> Suite:
    return Suite(
        tuple(
            dataclasses.replace(o, report=o.report and dataclasses.replace(o.report, timing=Timing()))
            for o in suite.outcomes
        )
    )


def gone(process: int) -> bool:
    """Ended; a zombie of somebody else has ended, too."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def until(holds: object, seconds: float = 60.0) -> None:
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
