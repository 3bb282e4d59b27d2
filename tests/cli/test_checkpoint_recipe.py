"""The recipe of docs/checkpoints.md: a checkpoint of a training is probed, and no step is taken."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradscope

SAVED = (("first", (4, 3), 0.25), ("last", (3, 1), 0.5))
PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"
MODEL = """
import jax, jax.numpy as jnp, numpy as np, optax

def init(key):
    return {"first": {"w": jax.random.normal(key, (4, 3))}, "last": {"w": jnp.ones((3, 1))}}

optimizer = optax.adam(1e-2)

def batches():
    draw = np.random.default_rng(0)
    while True:
        yield draw.normal(size=(8, 4)).astype(np.float32)

def loss_fn(params, x):
    return jnp.mean((jnp.tanh(x @ params["first"]["w"]) @ params["last"]["w"] - 1.0) ** 2)
"""


def test_the_command_of_the_page_measures_six_batches_at_the_checkpoint(tmp_path: Path) -> None:
    ocp = pytest.importorskip("orbax.checkpoint")
    (line,) = re.findall(r"^gradscope (check .*--steps 0.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    params = {
        "first": {"w": np.full((4, 3), 0.25, np.float32)},
        "last": {"w": np.full((3, 1), 0.5, np.float32)},
    }
    with warnings.catch_warnings(), ocp.PyTreeCheckpointer() as checkpointer:
        warnings.simplefilter("ignore")
        checkpointer.save(tmp_path / "checkpoints" / "9000", params)
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*"))
    command = [sys.executable, "-c", "from gradscope.cli.app import main; main()", *shlex.split(line)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "step9000.json").read_text("utf-8"))
    layers = {layer["name"]: layer for layer in found["flow"]["layers"]}
    assert found["flow"]["batches"] == 6
    assert layers["first"]["weight_rms"] == pytest.approx(0.25)
    assert layers["last"]["weight_rms"] == pytest.approx(0.5)
    assert found.get("training") is None
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")) == before


def test_from_python_at_the_parameters_of_a_loop() -> None:
    names: dict[str, Any] = {}
    exec(MODEL, names)
    params = names["init"](jax.random.key(0))
    copies = jax.tree.map(jnp.array, params)
    report = gradscope.check(names["loss_fn"], params, batches=names["batches"], count=6, steps=0)
    assert report.flow is not None
    assert (report.flow.batches, report.training) == (6, None)
    jax.tree.map(np.testing.assert_array_equal, params, copies)
