"""`--seeds 3` is `--seed 0`, `--seed 1` and `--seed 2`, whatever a file draws from and whenever."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gradscope.errors import GradscopeError
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check

ROOT = Path(__file__).parents[2]
SEEDS = (0, 1, 2)
COMMON = """
import random
import jax, jax.numpy as jnp, numpy as np

def called(name):
    with open(__file__ + ".calls", "a") as calls:
        calls.write(name + "\\n")

called("file")

def loss_fn(params, batch):
    return jnp.mean(jnp.tanh(batch @ params["w"]) ** 2)
"""
FIXED = "params = {'w': np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)}\n"
ONE = "batch = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)\n"
INIT = """
def init(key):
    called("init")
    return {"w": jax.random.normal(key, (3, 2))}
"""
BATCHES = """
def batches():
    called("batches")
    while True:
        yield np.random.normal(size=(4, 3)).astype(np.float32)
"""
FILES = {
    "init_from_a_key.py": COMMON + INIT + ONE,
    "drawn_in_batches.py": COMMON + INIT + BATCHES,
    "fixed_params.py": COMMON + FIXED + BATCHES,
    "drawn_by_the_file.py": COMMON
    + INIT
    + "data = np.random.normal(size=(12, 3)).astype(np.float32)\nscale = random.random()\n",
    "drawn_for_the_loss.py": COMMON
    + FIXED
    + ONE
    + """
scale, target = np.random.uniform(), np.random.normal(size=(4, 2))
@jax.jit
def loss_fn(params, batch):
    return jnp.mean((batch @ params["w"] - target) ** 2) * scale
""",
    "generator_of_the_file.py": COMMON
    + FIXED
    + "rng = np.random.default_rng(3)\n"
    + BATCHES.replace("np.random.normal", "rng.normal")
    + INIT.replace("def init", "def unused")
    + "params = {'w': params['w'] * np.float32(random.random())}\n",
    "imports_a_module.py": COMMON + "from drawn_helper import rows\n" + FIXED + "batch = rows()\n",
    "imports_a_library_that_draws.py": COMMON
    + FIXED
    + "import rich.style\nbatch = np.full((4, 3), random.random(), np.float32)\n",
    "key_in_the_loss.py": COMMON
    + FIXED
    + ONE
    + """
def loss_fn(params, batch, key):
    return jnp.mean((batch @ params["w"] + jax.random.normal(key, (4, 2))) ** 2)
""",
}
HELPER = """
import numpy as np
scale = np.random.uniform()
state = np.random.default_rng(5)
def rows():
    return (scale * state.normal(size=(4, 3))).astype(np.float32)
"""


def measured(folder: Path, first: int, count: int) -> dict[str, list[list[object]]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.runs.per_seed", str(first), str(count), *map(str, FILES)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[object]]] = json.loads(done.stdout)
    return found


def test_each_seed_is_what_a_process_of_its_own_makes_of_it(tmp_path: Path) -> None:
    for name, text in {**FILES, "drawn_helper.py": HELPER}.items():
        (tmp_path / name).write_text(text)
    together = measured(tmp_path, SEEDS[0], len(SEEDS))
    calls = {name: Counter((tmp_path / f"{name}.calls").read_text().split()) for name in FILES}
    apart = [measured(tmp_path, seed, 1) for seed in SEEDS]
    for name, text in FILES.items():
        assert together[name] == [run[name][0] for run in apart], name
        assert len({json.dumps(seed) for seed in together[name]}) == len(SEEDS), name
        makers = [what for what in ("init", "batches") if f"def {what}(" in text]
        assert calls[name] == dict.fromkeys(["file", *makers], len(SEEDS)), name


def test_a_file_that_cannot_run_twice_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "once.py"
    once = "if hasattr(random, 'seen'):\n    raise ValueError('twice')\nrandom.seen = True\n"
    path.write_text(COMMON + INIT + ONE + once)
    try:
        with pytest.raises(GradscopeError, match="raised ValueError: twice") as caught:
            check(str(path), options=CheckOptions(seeds=2))
    finally:
        del random.seen  # type: ignore[attr-defined]
    assert "The file ran for seed 0, and --seeds runs it again for each seed." in caught.value.why
