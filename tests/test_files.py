"""Data files, checkpoints and `diff` through the real command, from the file on disk to the exit code."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradscope.cli.app import main
from tests.test_bad_input import LINEAR, Check, Result, check as check, refused

SUPERVISED = """
import jax
import jax.numpy as jnp

def init(key):
    return {"hidden": {"w": jax.random.normal(key, (2, 8))}, "out": {"w": 0.3 * jnp.ones((8, 1))}}

def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["hidden"]["w"]) @ params["out"]["w"] - y[:, None]) ** 2)
"""
ROWS = "".join(f"{i / 10},{(i * 7) % 5},{i % 2},n{i}\n" for i in range(40))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text("height,width,label,name\n" + ROWS)
    return tmp_path / "table.csv"


def checked(check: Check, *options: str) -> Result:
    return check("", *options, header=SUPERVISED)


def test_a_table_a_checkpoint_and_the_difference_between_two_runs(
    check: Check, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", "table.csv", "--x", "height,width", "--y", "label", "--batch-size", "8")
    first = checked(check, *data, "--batches", "3", "--save", "init.json")
    assert (first.code, first.err) == (0, "")
    assert "table.csv has 40 rows, cut into batches of 8 after a shuffle." in first.out
    assert "3 batches" in first.out
    weights = {"hidden/w": np.full((2, 8), 30.0), "out/w": np.full((8, 1), np.nan)}
    np.savez(tmp_path / "step9000.npz", **weights)
    second = checked(check, *data, "--params", "step9000.npz", "--save", "step9000.json")
    assert second.code == 1
    assert "The parameters are those of step9000.npz." in second.out
    assert "float64 to float32" in second.out
    findings = json.loads((tmp_path / "step9000.json").read_text())["findings"]
    assert findings[0]["rule"] == "non-finite"
    with pytest.raises(SystemExit) as caught:
        main(["diff", "init.json", "step9000.json"])
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    assert "was healthy" in shown
    assert "non-finite" in shown
    assert "hidden" in shown


def test_missing_values_are_told_and_found(check: Check, table: Path) -> None:
    table.write_text(table.read_text().replace("0.5,", ",", 1))
    result = checked(check, "--data", "table.csv", "--x", "height,width", "--y", "label")
    assert result.code == 1
    assert "`height` of table.csv: 1 of 40 values are missing; they are NaN." in " ".join(result.out.split())
    assert "`batch.x` holds 1 value of 80" in " ".join(result.out.split())


REFUSED = {
    "an unknown name": (("--data", "table.csv", "--x", "heigth", "--y", "label"), "Did you mean `height`?"),
    "text": (("--data", "table.csv", "--y", "label"), "The column `name` of table.csv holds string values"),
    "no such file": (("--data", "tables.csv"), "There is no data file tables.csv."),
    "names without a file": (("--x", "height"), '"--x" selects from a data file'),
    "a pickle": (("--data", "data.pkl"), "data.pkl holds a pickle"),
    "a checkpoint in disguise": (("--data", "table.csv", "--x", "height,width", "--y", "label", "--params",
                                  "data.pkl"), "data.pkl holds a pickle"),
    "another model": (("--data", "table.csv", "--x", "height,width", "--y", "label", "--params", "other.npz"),
                      "missing: hidden.w float32[2, 8] (near: hidden.v)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_cannot_be_used_are_refused(case: str, check: Check, table: Path, tmp_path: Path) -> None:
    (tmp_path / "data.pkl").write_bytes(pickle.dumps({"x": 1}))
    np.savez(tmp_path / "other.npz", **{"hidden.v": np.zeros((2, 8)), "out.w": np.zeros((8, 1))})
    options, said = REFUSED[case]
    refused(checked(check, *options), said)


def test_nothing_of_the_extras_is_imported_without_need(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(LINEAR)
    code = (
        "import sys\nfrom gradscope.load.target import load\nload('model.py')\n"
        "print([n for n in ('pyarrow', 'orbax', 'safetensors', 'msgpack', 'torch') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
