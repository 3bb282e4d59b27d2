"""Whole processes: `gradscope check` against a script that does one jitted `value_and_grad`; start-up.

Each pair runs in turn. Cold means an empty compilation cache; warm, a second run of the same command. Both
programs find their byte code, as an installed one does.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROUNDS = 3
STARTS = 15

PLAIN = """
import sys, runpy, jax
sys.path.insert(0, {folder!r})
names = runpy.run_path({file!r})
loss, gradients = jax.jit(jax.value_and_grad(names["loss_fn"]))(names["params"], names["batch"])
print(loss, jax.tree.map(lambda g: float(jax.numpy.linalg.norm(g)), gradients) and "")
"""

TYPER = """
import typer
app = typer.Typer()

@app.command()
def main(name: str) -> None:
    print(name)

app()
"""


def seconds(command: Sequence[str], **environment: str) -> float:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{command}: {done.stderr}")
    return time.perf_counter() - start


def gradscope(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gradscope", *arguments]


def check(name: str) -> dict[str, Any]:
    file = str(HERE / "files" / f"{name}.py")
    script = [sys.executable, "-c", PLAIN.format(folder=str(HERE.parent), file=file)]
    plain, cold, warm = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            plain.append(seconds(script))
            cold.append(seconds(gradscope("check", file), JAX_COMPILATION_CACHE_DIR=cache))
            warm.append(seconds(gradscope("check", file), JAX_COMPILATION_CACHE_DIR=cache))
    return {
        "what": f"check, {name}",
        "against_s": statistics.median(plain),
        "gradscope_s": statistics.median(cold),
        "ratio": statistics.median(c / p for c, p in zip(cold, plain, strict=True)),
        "second_run_s": statistics.median(warm),
    }


def start_up(*arguments: str, against: str = "--help") -> dict[str, Any]:
    """Against a one-command app that is asked for `--help`, or called with an argument as our command is."""
    plain, ours = [], []
    for run in range(1 + STARTS):
        app, command = seconds([sys.executable, "-c", TYPER, against]), seconds(gradscope(*arguments))
        if run:  # the first one may write byte code
            plain.append(app)
            ours.append(command)
    return {
        "what": f"{arguments[0]} against app {against}",
        "against_s": statistics.median(plain),
        "gradscope_s": statistics.median(ours),
        "ratio": statistics.median(o / p for o, p in zip(ours, plain, strict=True)),
    }


def rows() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run.json")
        seconds(gradscope("check", str(HERE / "files" / "mlp.py"), "--save", run))
        return [
            check("transformer"),
            check("mlp"),
            start_up("--help"),
            *(
                start_up(*command, against=against)
                for command in (("explain", "vanishing-gradient"), ("report", run))
                for against in ("--help", "word")
            ),
        ]
