"""`--mesh` on the command line: CPU devices are made, and what is said is what is said without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sharded.test_commands import different

MODEL = """
import jax, jax.numpy as jnp, numpy as np

def init(key):
    return {"w": jax.random.normal(key, (6, 8)) / 3, "v": jnp.ones((8, 2)) * jnp.arange(1, 9)[:, None] / 8}

def loss_fn(params, batch):
    return jnp.mean((jnp.tanh(batch @ params["w"]) @ params["v"] - 1) ** 2)

batch = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
"""


def checked(folder: Path, *arguments: str) -> tuple[Any, str]:
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-m", "gradscope", "check", *arguments, "--format", "json", "--no-progress"],
        env={**env, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_two_targets_on_a_mesh_say_what_they_say_without_one(tmp_path: Path) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(MODEL)
    asked = ("one.py", "two.py", "--steps", "3")
    plain, _ = checked(tmp_path, *asked)
    placed, _ = checked(tmp_path, *asked, "--mesh", "data=4,model=2")
    for alone, spread in zip(plain["targets"], placed["targets"], strict=True):
        assert different(alone["report"]["flow"], spread["report"]["flow"]) == []
        assert "Laid out over 8 devices" in spread["report"]["notes"][-1]


@pytest.mark.slow
def test_devices_are_made_for_a_file_with_a_mesh_of_its_own(tmp_path: Path) -> None:
    own = "from jax.sharding import *\nmesh = Mesh(np.array(jax.devices()), ('data',))\n"
    own += (
        "assert mesh.size == 8\nbatch = jax.device_put(batch, NamedSharding(mesh, PartitionSpec('data')))\n"
    )
    (tmp_path / "own.py").write_text(MODEL + own)
    report, _ = checked(tmp_path, "own.py", "--devices", "8", "--steps", "3")
    assert report["verdict"] == "healthy"
