"""The same input gives the same bytes, in processes that share nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gradscope.report import FORMATS

SAMPLE = Path(__file__).parents[2] / "sample_models" / "exploding_rnn.py"
RUN = "from gradscope.cli.app import main; main()"


def written(folder: Path, hash_seed: str) -> dict[str, bytes]:
    """Every format of one run, by a process with its own order of sets and dictionaries of strings."""
    folder.mkdir()
    reports = [f"--report={name}={folder / name}" for name in FORMATS]
    done = subprocess.run(
        [sys.executable, "-c", RUN, "check", str(SAMPLE), "--verify", "--no-timing", *reports],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "COLUMNS": "100"},
        capture_output=True,
    )
    assert done.returncode == 1, done.stderr
    return {name: (folder / name).read_bytes() for name in FORMATS}


def test_two_runs_write_the_same_bytes_in_every_format(tmp_path: Path) -> None:
    first, second = written(tmp_path / "first", "1"), written(tmp_path / "second", "2")
    assert [name for name in FORMATS if first[name] != second[name]] == []
    assert all(first.values())
