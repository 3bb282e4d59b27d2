"""`gradscope memory` on files of a user: options, exit codes, formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradscope.cli.memory import bytes_in, gate_of
from gradscope.errors import GradscopeError
from gradscope.footprint import account
from tests.cli.conftest import Run

MODEL = """
import jax.numpy as jnp
import numpy as np

params = {"first": {"w": np.ones((4, 3), np.float32)}, "last": {"w": np.ones((3, 2), np.float32)}}
batch = np.ones((5, 4), np.float32)

def loss_fn(params, batch):
    return jnp.mean(jnp.sin(batch @ params["first"]["w"]) @ params["last"]["w"])
"""


pytestmark = pytest.mark.usefixtures("no_preparation")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return str(path)


def test_json_has_each_array_with_what_made_and_what_reads_it(run: Run, model: str) -> None:
    result = run("memory", model, "--format", "json", "--no-progress")
    assert result.code == 0
    memory = json.loads(result.out)["memory"]
    arrays = {(a["made_by"]["rule"], a["read_by"]["rule"], a["size"]) for a in memory["kept"]}
    assert arrays == {("sin", "sin", 60), ("sin", "dot_general", 60)}
    assert memory["batch_size"] == 5


def test_a_gate_that_a_step_stays_below_answers_0(run: Run, model: str) -> None:
    result = run("memory", model, "--fail-on", "memory:1GiB", "--no-progress", "--no-checkpoints")
    assert result.code == 0
    assert "nothing found in a step of" in result.out


def test_a_gate_that_a_step_exceeds_answers_1_in_every_format(run: Run, model: str) -> None:
    result = run("memory", model, "--fail-on", "memory:300B", "--format", "github", "--no-progress")
    assert result.code == 1
    assert "memory-over-limit" in result.out


def test_ctrl_c_ends_with_what_was_accounted(run: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(account, "compiled_memory", interrupted)
    result = run("memory", model, "--no-progress")
    assert result.code == 130
    assert "kept for the backward pass" in result.out
    assert "XLA" not in result.out
    assert "interrupted" in result.out


LAYERS = """
import jax.numpy as jnp
import numpy as np

params = {"w": [np.full((8, 8), 0.1, np.float32) for _ in range(5)]}
batch = np.ones((64, 8), np.float32)

def loss_fn(params, batch):
    for w in params["w"]:
        batch = batch + jnp.tanh(jnp.sin(jnp.exp(batch @ w)))
    return jnp.mean(batch**2)
"""


def test_without_timing_the_same_file_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYERS)
    first, second = (run("memory", str(path), "--no-timing", "--no-progress").out for _ in range(2))
    assert first == second
    assert "gradient checkpointing" in first
    assert " time" not in first.partition("gradient checkpointing")[2].partition("\n\n")[0].partition("\n")[2]


def test_two_sizes_are_refused(run: Run, model: str) -> None:
    result = run("memory", model, "--fail-on", "memory:1GiB", "--limit", "2GiB")
    assert result.code == 2
    assert "name two sizes" in result.err


def test_sizes_are_read_with_their_units() -> None:
    assert bytes_in("--limit", "16GiB") == 16 * 2**30
    assert bytes_in("--limit", "8GB") == 8 * 10**9
    assert bytes_in("--limit", "1.5 mib") == 3 * 2**19
    assert bytes_in("--limit", "1e9") == 10**9
    for wrong in ("much", "-1GiB", "0", "nan", "inf", "GiB"):
        with pytest.raises(GradscopeError, match="not a size"):
            bytes_in("--limit", wrong)


def test_the_gate_stands_beside_other_policies() -> None:
    gate, policy = gate_of("memory:8GiB,warning")
    assert gate == 8 * 2**30
    assert policy.fail_on == ("memory-over-limit", "warning")
    assert gate_of(None)[0] is None


LARGE = """
import jax
import jax.numpy as jnp

def init(key):
    return {"w": jax.random.normal(key, (2**15, 2**15)), "unused": jnp.ones((2**10, 2**14))}

batch = jnp.ones((4, 2**15))

def loss_fn(params, batch):
    return jnp.mean((batch @ params["w"]) ** 2)
"""


def test_shapes_alone_account_for_what_would_not_fit_and_are_judged(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.py"
    path.write_text(LARGE)
    arguments = ("--shapes", "--mesh", "data=2,model=2", "--format", "json", "--no-progress")
    result = run("memory", str(path), *arguments)
    found = json.loads(result.out)
    size = 4 * (2**30 + 2**24)
    assert found["memory"]["parameters"] == size
    assert found["memory"]["by_device"]["parameters"] == size // 2
    assert found["memory"]["compiled"]["arguments"] < size
    assert [(each["rule"], each["parameter"]) for each in found["findings"]] == [
        ("disconnected-parameter", "unused")
    ]
    assert result.code == 1
    assert {each["reason"] for each in found["skipped"]} == {"nothing is run with --shapes"}
    assert "rules that go by numbers" in found["skipped"][-1]["what"]


def test_examples_that_meet_all_others_are_seen_by_their_shapes(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.py"
    pairs = LARGE.replace("batch = jnp.ones((4, 2**15))", "batch = jnp.ones((4, 2**15)), jnp.ones(4)")
    pairs = pairs.replace("(key, (2**15, 2**15))", "(key, (2**15, 1))")
    path.write_text(pairs.replace('batch @ params["w"]', 'batch[0] @ params["w"] - batch[1]'))
    result = run("memory", str(path), "--shapes", "--format", "json", "--no-progress")
    assert {each["rule"] for each in json.loads(result.out)["findings"]} == {
        "broadcast-loss",
        "disconnected-parameter",
    }


def test_shapes_in_the_file_need_the_option(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.py"
    path.write_text(f"{LARGE}\nparams = jax.eval_shape(init, jax.random.key(0))\n")
    assert run("memory", str(path), "--shapes", "--no-progress").code == 1
    result = run("memory", str(path), "--no-progress")
    assert result.code == 2
    assert "`gradscope memory --shapes` needs none" in " ".join(result.err.split())


def test_shapes_of_a_module_with_statistics_and_random_streams(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("flax")
    path = tmp_path / "module.py"
    path.write_text(
        "import jax.numpy as jnp\nfrom flax import nnx\n\n"
        "class Net(nnx.Module):\n"
        "    def __init__(self, rngs):\n"
        "        self.hidden, self.norm = nnx.Linear(4, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)\n"
        "        self.drop, self.out = nnx.Dropout(0.1, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)\n\n"
        "    def __call__(self, x):\n"
        "        return self.out(self.drop(self.norm(self.hidden(x))))\n\n"
        "def model(key):\n    return Net(nnx.Rngs(key))\n\n"
        "batch = jnp.ones((8, 4))\n\n"
        "def loss_fn(model, batch):\n    return jnp.mean(model(batch) ** 2)\n"
    )
    result = run("memory", str(path), "--shapes", "--no-progress")
    assert result.code == 0, result.err
