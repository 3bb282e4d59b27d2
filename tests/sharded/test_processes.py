"""Several processes on this machine: their one report is that of one process with as many devices; and where
one of them ends, stops or differs the others say so within the time that was given."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.sharded.test_commands import different
from tests.sharded.test_mesh_option import MODEL

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the children of a process are read from /proc"
)

OWN_MESH = """
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.array(jax.devices()), ("model",))
def put(value, *spec):
    sharding = NamedSharding(mesh, P(*spec))
    return jax.make_array_from_callback(value.shape, sharding, lambda part: np.asarray(value)[part])
whole = init(jax.random.key(0))
params = {"w": put(whole["w"], None, "model"), "v": put(whole["v"], "model")}
del init
batch = put(batch)
"""
WITHIN_S = 40
"""What the tests give the processes, as --timeout: a busy machine takes 20 s for what two of them do."""
LATEST_S = 3 * WITHIN_S + 30
MISBEHAVING = """
import os, signal, time
def misbehave():
    how, who = os.environ["HOW"].split(":")
    if jax.process_index() != int(who):
        return
    if how == "loops":
        while True: pass
    if how == "raises":
        raise ValueError("on one machine alone")
    os.kill(os.getpid(), getattr(signal, how))
"""
IN_LOADING = MODEL + MISBEHAVING + "misbehave()\n"
IN_TRAINING = (
    MODEL
    + MISBEHAVING
    + """
def batches():
    for number in range(20):
        if number == 3:
            misbehave()
        yield rows
rows = batch
del batch
"""
)
OTHER_KEY = MODEL + "first = init\ndef init(key):\n    return first(jax.random.key(jax.process_index()))\n"
OTHER_PROGRAM = (
    MODEL
    + """
first = loss_fn
if jax.process_index() == 1:
    def loss_fn(params, batch):
        return 2 * first(params, batch)
"""
)
OTHER_ORDER = (
    MODEL
    + """
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.array(jax.devices()), ("data",))
batch = jax.make_array_from_callback(batch.shape, NamedSharding(mesh, P("data")), lambda part: batch[part])

def summed(rows):
    if jax.process_index():
        large, mean = jax.lax.pmax(rows.max(), "data"), jax.lax.psum(rows.mean(), "data")
    else:
        mean, large = jax.lax.psum(rows.mean(), "data"), jax.lax.pmax(rows.max(), "data")
    return mean + large

def loss_fn(params, batch):
    mapped = jax.shard_map(summed, mesh=mesh, in_specs=P("data"), out_specs=P())
    return jnp.mean((jnp.tanh(batch @ params["w"]) @ params["v"]) ** 2) + jax.lax.stop_gradient(mapped(batch))
"""
)

OWN_STEP = (
    MODEL
    + """
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.array(jax.devices()), ("data",))
put = lambda value, spec: jax.make_array_from_callback(
    value.shape, NamedSharding(mesh, spec), lambda part: np.asarray(value)[part])
params = {name: put(value, P()) for name, value in init(jax.random.key(0)).items()}
del init
batch = put(batch, P("data"))
optimizer = optax.sgd(0.1)

def local(params, opt_state, rows):
    gradients = jax.tree.map(lambda g: jax.lax.psum(g, "data"), jax.grad(loss_fn)(params, rows))
    if OTHER and jax.process_index():
        jax.lax.pmax(rows, "data")
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

def train_step(params, opt_state, batch):
    specs = (P(), P(), P("data"))
    step = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=specs[:2], check_vma=False)
    return step(params, opt_state, batch)
"""
)


class Done(NamedTuple):
    code: int
    out: str
    err: str
    seconds: float

    @property
    def flow(self) -> Any:
        return json.loads(self.out)


@contextlib.contextmanager
def begun(folder: Path, model: str, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "model.py").write_text(model)
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-m", "gradscope", "check", "model.py", "--steps", "4", "--no-progress"]
    process = subprocess.Popen(
        [*command, *arguments],
        env={**env, **variables, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str]) -> Done:
    start = time.monotonic()
    out, err = process.communicate(timeout=LATEST_S)
    return Done(process.returncode, out, err, time.monotonic() - start)


def checked(folder: Path, model: str, *arguments: str, **variables: str) -> Done:
    with begun(folder, model, *arguments, **variables) as process:
        return ended(process)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


def limited(*arguments: str) -> tuple[str, ...]:
    return (*arguments, "--mesh", "data=2", "--timeout", str(WITHIN_S), "--format", "json")


def same(one: Done, other: Done) -> list[Any]:
    alone, together = (json.loads(done.out) for done in (one, other))
    assert together["notes"] != alone["notes"]
    return different({**alone, "notes": []}, {**together, "notes": []})


def test_two_processes_say_what_one_says_of_two_devices(folder: Path) -> None:
    asked = ("--mesh", "data=2", "--format", "json")
    one, two = checked(folder, MODEL, *asked), checked(folder, MODEL, *asked, "--processes", "2")
    assert (one.code, two.code) == (0, 0), two.err
    assert same(one, two) == []
    assert two.err == ""
    assert json.loads(two.out)["notes"][-1] == "Measured by 2 processes together, over 2 devices."


@pytest.mark.slow
@pytest.mark.parametrize("asked", [("--mesh", "data=4"), ("--mesh", "data=2,model=2"), ()])
def test_four_processes_say_what_one_says_of_four_devices(folder: Path, asked: tuple[str, ...]) -> None:
    model = MODEL if asked else MODEL + OWN_MESH
    devices = () if asked else ("--devices", "4")
    one = checked(folder, model, *asked, *devices, "--format", "json")
    four = checked(folder, model, *asked, *devices, "--processes", "4", "--format", "json")
    assert (one.code, four.code) == (0, 0), four.err
    assert same(one, four) == []


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("model", [IN_LOADING, IN_TRAINING], ids=["loading", "training"])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("SIGKILL", "was killed with SIGKILL while"),
        ("SIGSTOP", "has given no sign of life for"),
        ("loops", "keeps the others waiting"),
    ],
)
def test_one_that_ends_stops_or_loops_is_told(
    folder: Path, how: str, said: str, model: str, who: int
) -> None:
    done = checked(folder, model, *limited("--processes", "2"), HOW=f"{how}:{who}")
    assert done.code == 2
    assert f"Process {who}" in done.err
    assert said in done.err
    # A program that reads is told, too, and whole.
    (target,) = (
        json.loads(done.out)["targets"] if "targets" in json.loads(done.out) else [json.loads(done.out)]
    )
    assert f"Process {who}" in json.dumps(target)


def test_what_differs_between_processes_is_named_before_they_compute(folder: Path) -> None:
    done = checked(folder, OTHER_KEY, *limited("--processes", "2"))
    assert done.code == 2
    assert "Process 1 differs from process 0 in v." in done.err or "in w." in done.err


@pytest.mark.slow
def test_processes_that_have_nothing_in_common_say_so(folder: Path) -> None:
    done = checked(folder, MODEL, "--processes", "2", "--format", "json")
    assert done.code == 0, done.err
    assert "No array lies on devices of several processes" in json.loads(done.out)["notes"][-1]


@pytest.mark.slow
def test_collectives_in_another_order_are_named_with_their_line(folder: Path) -> None:
    """They would wait for each other for ever."""
    done = checked(folder, OTHER_ORDER, "--processes", "2", "--timeout", str(WITHIN_S), "--format", "json")
    assert done.code == 2
    said = " ".join(done.err.split())
    assert "Process 1 differs from process 0 in equation" in said
    assert "(model.py:" in said
    assert "It is reduce_max" in said or "It is pmax" in said


@pytest.mark.slow
def test_a_training_step_of_two_processes_is_compared_with_that_of_the_whole_batch(folder: Path) -> None:
    done = checked(folder, "OTHER = False\n" + OWN_STEP, "--processes", "2", "--format", "json")
    (finding,) = [each for each in json.loads(done.out)["findings"] if each["rule"] == "scaled-gradient"]
    assert finding["evidence"]["factor"] == 2


@pytest.mark.slow
def test_collectives_of_the_training_step_that_differ_are_named(folder: Path) -> None:
    done = checked(folder, "OTHER = True\n" + OWN_STEP, "--processes", "2", "--timeout", str(WITHIN_S))
    assert done.code == 2
    said = " ".join(done.err.split())
    assert "Process 1 differs from process 0 in equation" in said
    assert "of train_step (model.py:" in said


@pytest.mark.slow
def test_another_program_is_named(folder: Path) -> None:
    done = checked(folder, OTHER_PROGRAM, *limited("--processes", "2"))
    assert done.code == 2
    assert "Process 1 differs from process 0 in the number of equations of the loss." in done.err


def cluster(
    folder: Path, model: str, arguments: Sequence[Sequence[str]] = ((), ()), **variables: str
) -> list[Done]:
    """Two commands, as a cluster runs them: each with its number."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    with contextlib.ExitStack() as stack:
        started = []
        for number, more in enumerate(arguments):
            joining = "--coordinator", address, "--processes", "2", "--process-id", str(number)
            started.append(stack.enter_context(begun(folder, model, *limited(*joining), *more, **variables)))
        return [ended(process) for process in started]


@pytest.mark.slow
def test_of_two_commands_the_first_reports_and_both_end_alike(folder: Path) -> None:
    first, second = cluster(
        folder, MODEL + "params = dict(init(jax.random.key(0)), unused=jnp.ones(3))\ndel init\n"
    )
    assert (first.code, second.code) == (1, 1), first.err
    assert "disconnected-parameter" in first.out
    assert (second.out, second.err) == ("", "")


@pytest.mark.slow
def test_what_fails_on_one_machine_is_told_by_the_first(folder: Path) -> None:
    first, second = cluster(folder, IN_LOADING, HOW="raises:1")
    assert (first.code, second.code) == (2, 2)
    assert "Process 1 of 2: " in first.err
    assert "ValueError: on" in first.err
    assert second.err == ""


@pytest.mark.slow
def test_options_that_differ_are_named(folder: Path) -> None:
    first, second = cluster(folder, MODEL, ((), ("--seed", "7")))
    assert (first.code, second.code) == (2, 2)
    assert "Process 1 differs from process 0 in the option seed." in first.err
    assert "It is 7 there, and 0 on process 0." in first.err


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_all_others_say_that_the_first_is_gone(folder: Path, how: str) -> None:
    _, second = cluster(folder, IN_TRAINING, HOW=f"{how}:0")
    assert second.code == 2
    assert "rocess 0" in second.err


def children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
        return [int(word) for word in text.split()]
    return []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(30))
def test_nothing_hangs_whenever_one_is_killed_or_stopped(folder: Path, number: int) -> None:
    """At any moment: it ends in time, by a report or by an error that names a process; no half of a file."""
    draw = random.Random(number)
    saved = folder / f"saved-{number}.json"
    how = draw.choice([signal.SIGKILL, signal.SIGSTOP])
    with begun(folder, MODEL, *limited("--processes", "2"), "--save", str(saved)) as process:
        until = time.monotonic() + LATEST_S
        while not (found := [rank for server in children(process.pid) for rank in children(server)][:2]):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 8))
        victim = draw.choice(found)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, how)
        done = ended(process)
    assert done.code in (0, 2)
    assert done.code == 0 or "rocess" in done.err
    assert json.loads(done.out)
    assert json.loads(saved.read_text())
