"""A target that has a time limit is judged in a process of its own; one without is not, in CI neither."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HANGS = """
import time
import jax.numpy as jnp
print("said by the file")
params, batch = jnp.ones(3), jnp.ones(3)
def loss_fn(params, batch):
    while True:
        time.sleep(0.1)
"""
DIES = """
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
STARTED_BY = """
import os
print("started by", os.getppid())
"""


def check(*arguments: str, where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gradscope", "check", *arguments],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_loss_that_hangs_ends_at_its_deadline(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    done = check("hangs.py", "--timeout", "2", "--report", "json=run.json", where=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("said by the file\nerror: It took longer than 2 s.")
    assert "hangs.py:8 in loss_fn" in done.stderr
    (target,) = json.loads((tmp_path / "run.json").read_text())["targets"]
    assert target["error"]["kind"] == "timeout"


def test_a_report_tells_of_a_target_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(DIES)
    done = check("dies.py", "--format", "github", "--timeout", "100", where=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("::error title=gradscope (not judged),file=dies.py,line=1::")
    assert "killed with SIGKILL" in done.stderr


def test_a_ci_job_takes_the_road_of_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(STARTED_BY)
    said = {
        value: check("file.py", where=tmp_path, CI=value).stderr.splitlines()[0] for value in ("", "true")
    }
    assert said == dict.fromkeys(("", "true"), f"started by {os.getpid()}")
    apart = check("file.py", "--timeout", "100", where=tmp_path).stderr
    assert f"started by {os.getpid()}" not in apart
