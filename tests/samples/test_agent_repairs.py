"""A program that knows nothing but `--format agent` repairs sick samples with the edits it reads there."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradscope.remedies.source_code import patched

SAMPLES = Path(__file__).parents[2] / "sample_models"
QUICK = ["deep_sigmoid_mlp.py", "nan_where.py"]
REPAIRED = [
    "argmax_bottleneck.py",
    "dead_relu_mlp.py",
    "exploding_rnn.py",
    "huge_init_mlp.py",
    "masked_softmax.py",
    "misplaced_stop_gradient.py",
    "nan_sqrt.py",
    "no_add_norm_transformer.py",
    "plain_deep_convnet.py",
    "relu_physics.py",
]
INDENT = "   "


def run(command: str, folder: Path) -> tuple[int, list[str]]:
    """A command as it was read, in the folder of the model."""
    name, *arguments = shlex.split(command)
    assert name == "gradscope"
    done = subprocess.run(
        [sys.executable, "-m", "gradscope", *arguments], cwd=folder, capture_output=True, encoding="utf-8"
    )
    return done.returncode, done.stdout.splitlines()


def after(lines: list[str], lead: str) -> str:
    return next(line.removeprefix(lead) for line in lines if line.startswith(lead))


def edit_in(lines: list[str]) -> str:
    found = []
    for line in lines[lines.index(f"{INDENT}edit (tried):") + 1 :]:
        if not line.startswith(INDENT):
            break
        found.append(line.removeprefix(INDENT))
    return "\n".join(found) + "\n"


def repaired(name: str, folder: Path, attempts: int = 3) -> int:
    """How many edits it took until the command that verifies exits with 0."""
    shutil.copy(SAMPLES / name, folder)
    code, lines = run(f"gradscope check {name} --format agent", folder)
    assert code == 1
    for edits in range(1, attempts + 1):
        _, lines = run(after(lines, "try edits: "), folder)
        verify = after(lines, "verify (exit 0): ")
        diff = edit_in(lines)
        file = folder / diff.splitlines()[0].removeprefix("--- a/")
        file.write_text(patched(file.read_text(encoding="utf-8"), diff), encoding="utf-8")
        code, lines = run(verify, folder)
        if code == 0:
            return edits
    raise AssertionError(f"{name} is still sick after {attempts} edits")


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(each, marks=pytest.mark.slow) for each in REPAIRED)])
def test_a_sick_sample_is_repaired(name: str, tmp_path: Path) -> None:
    assert repaired(name, tmp_path) <= 2
