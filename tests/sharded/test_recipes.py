"""The recipes of docs/scale.md: their scripts run with a stand-in for `srun`, which starts two tasks on this
machine with the variables that SLURM sets, and the Kubernetes job as each of its pods would run it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pages.reading import blocks
from tests.sharded.test_mesh_option import MODEL
from tests.sharded.test_processes import OWN_MESH

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched in /proc")

SLURM, NIGHTLY = blocks("docs/scale.md", "bash")
(KUBERNETES,) = blocks("docs/scale.md", "yaml")
SRUN = """#!/bin/sh
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" 2>err.$task &
    eval "pid$task=$!"
done
wait $pid0; first=$?
wait $pid1; second=$?
echo "$first $second" > codes
[ $first -gt $second ] && exit $first
exit $second
"""
CHECKPOINT = """
import sys
from pathlib import Path
import numpy as np
import orbax.checkpoint as ocp
rng = np.random.default_rng(1)
params = {"w": rng.normal(size=(6, 8)).astype(np.float32) / 3, "v": np.full((8, 2), 0.25, np.float32)}
with ocp.StandardCheckpointer() as keeper:
    keeper.save(Path(sys.argv[1]).resolve(), params)
"""


def surroundings(folder: Path) -> dict[str, str]:
    """With `gradscope` and `srun` found first, and what SLURM says of a job with two tasks on one node."""
    tools = folder / "bin"
    tools.mkdir()
    for name, text in (
        ("srun", SRUN),
        ("gradscope", f'#!/bin/sh\nexec {sys.executable} -m gradscope "$@"\n'),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_ID": str(20_000 + os.getpid() % 20_000),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
    }
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    return {**kept, **slurm, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}


def ran(script: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "job.sh").write_text(script)
    (folder / "train.py").write_text(MODEL + OWN_MESH)
    return subprocess.run(
        ["bash", "job.sh"], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def checkpoint(path: Path) -> None:
    subprocess.run([sys.executable, "-c", CHECKPOINT, str(path)], check=True, capture_output=True)


@pytest.mark.parametrize("script", [SLURM, NIGHTLY], ids=["slurm", "nightly"])
def test_scripts_are_read_by_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_the_slurm_script_measures_a_checkpoint_by_two_tasks(tmp_path: Path) -> None:
    checkpoint(tmp_path / "latest")
    script = SLURM.replace("/checkpoints/latest", "latest")
    done = ran(script, tmp_path, surroundings(tmp_path))
    said = done.stderr + "".join(each.read_text() for each in sorted(tmp_path.glob("err.*")))
    assert done.returncode == 0, said
    assert (tmp_path / "codes").read_text().split() == ["0", "0"]
    report: Any = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "healthy"
    (v,) = [each for each in report["flow"]["layers"] if each["name"] == "v"]
    assert v["weight_rms"] == pytest.approx(0.25, rel=1e-4)


@pytest.mark.slow
def test_the_nightly_gate_takes_the_newest_checkpoint(tmp_path: Path) -> None:
    for name, time in (("step_1", 1_000_000_000), ("step_2", 2_000_000_000)):
        checkpoint(tmp_path / "checkpoints" / name)
        os.utime(tmp_path / "checkpoints" / name, (time, time))
    script = NIGHTLY.replace("/checkpoints/", "checkpoints/")
    env = surroundings(tmp_path)
    # Once, as the page says.
    ran("gradscope check train.py --write-baseline gradscope-baseline.json --no-progress", tmp_path, env)
    done = ran(script, tmp_path, env)
    said = done.stderr + "".join(each.read_text() for each in sorted(tmp_path.glob("err.*")))
    assert done.returncode == 0, said
    (saved,) = tmp_path.glob("night-*.json")
    report: Any = json.loads(saved.read_text())
    assert any("step_2" in note for note in report["notes"]), report["notes"]


@pytest.mark.slow
def test_pods_of_the_kubernetes_job_run_what_it_says(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    spec = yaml.safe_load(KUBERNETES)["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["completions"] == spec["parallelism"] == 4
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    (command,) = container["args"]
    assert "gradscope-0.gradscope:1234" in command
    command = command.replace("gradscope-0.gradscope:1234", address) + " --no-progress --format json"
    env = surroundings(tmp_path)
    (tmp_path / "train.py").write_text(MODEL)
    pods = [
        subprocess.Popen(
            [*container["command"], command],
            cwd=tmp_path,
            env={**env, "JOB_COMPLETION_INDEX": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(spec["completions"])
    ]
    said = [pod.communicate(timeout=300) for pod in pods]
    assert [pod.returncode for pod in pods] == [0] * 4, shlex.join(err for _, err in said)
    assert json.loads(said[0][0])["verdict"] == "healthy"
    assert {out for out, _ in said[1:]} == {""}
