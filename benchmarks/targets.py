"""Many small targets in one run: `python -m benchmarks.targets [COUNT]`, 40 without it.

Three ways to start a child: forked from our server, forked from that of `multiprocessing`, and an interpreter
of its own; then our way with 1 job and with 2, and again with the compilation cache that this filled. More
than 40 targets are run in the last two ways alone. Each run is a process of its own: its peak of memory is
the parent's, and that of its largest descendant the largest child's.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.__main__ import shown
from gradscope.processes import scheduling, starting
from gradscope.records.options import Task

COUNT = 40
TURNS = (
    ("forked by multiprocessing", 2),
    ("own interpreter", 2),
    ("forked", 1),
    ("forked", 2),
)
"""How they are started, and how many at a time."""

MODEL = """
import jax
import jax.numpy as jnp
import numpy as np

SIZES = [16, {width}, {width}, 4]
rng = np.random.default_rng({number})
batch = rng.normal(size=(64, 16)).astype(np.float32), rng.integers(0, 4, 64)


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    pairs = zip(keys, SIZES, SIZES[1:])
    return [{{"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)}} for k, a, b in pairs]


def loss_fn(params, batch):
    x, y = batch
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    log_p = jax.nn.log_softmax(x @ params[-1]["w"] + params[-1]["b"])
    return -jnp.take_along_axis(log_p, y[:, None], axis=-1).mean()
"""


def write_models(folder: Path, count: int) -> list[str]:
    """No two of them compile to the same program."""
    for number in range(count):
        text = MODEL.format(width=32 + number, number=number)
        (folder / f"model_{number:03}.py").write_text(text, encoding="utf-8")
    return sorted(map(str, folder.glob("model_*.py")))


def ours(start: type[starting.ForkServer] | type[starting.Spawner], files: list[str], jobs: int) -> int:
    vars(scheduling)["best"] = lambda: start
    suite = scheduling.run([Task(file, file) for file in files], jobs=jobs, progress=lambda _: None)
    return len(suite.reports)


def of_multiprocessing(files: list[str], jobs: int) -> int:
    """The least that it needs: a child for each file, and its report as text."""
    import multiprocessing.forkserver

    from gradscope.processes import prepare
    from gradscope.processes.server import PRELOADED

    prepare.prepare_process()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with context.Pool(jobs, maxtasksperchild=1) as pool:
        judged = sum(bool(text) for text in pool.imap(as_text, files, chunksize=1))
        pool.close()
        pool.join()
    # Its server outlives the run; waited for, its time and memory count.
    vars(multiprocessing.forkserver)["_forkserver"]._stop()
    return judged


def as_text(file: str) -> str:
    from gradscope.runs.check import check
    from gradscope.serialization import report_json

    return report_json.dumps(check(file))


WAYS: dict[str, Callable[[list[str], int], int]] = {
    "forked": lambda files, jobs: ours(starting.ForkServer, files, jobs),
    "forked by multiprocessing": of_multiprocessing,
    "own interpreter": lambda files, jobs: ours(starting.Spawner, files, jobs),
}


def one(way: str, jobs: int, files: list[str]) -> dict[str, Any]:
    """In the process that is measured."""
    began = time.perf_counter()
    judged = WAYS[way](files, jobs)
    wall = time.perf_counter() - began
    parent, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    assert judged == len(files), f"{judged} of {len(files)} judged"
    return {
        "targets": len(files),
        "started": way,
        "jobs": jobs,
        "wall_s": wall,
        "wall_s_per_target": wall / len(files),
        "cpu_s_per_target": (parent.ru_utime + parent.ru_stime + children.ru_utime + children.ru_stime)
        / len(files),
        "parent_peak_mib": parent.ru_maxrss / 1024,
        "largest_child_mib": children.ru_maxrss / 1024,
    }


def measure(way: str, jobs: int, files: list[str], cache: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.targets", "--one", way, str(jobs), *files]
    environment = os.environ | {"XDG_CACHE_HOME": cache}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows(count: int = COUNT) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        files = write_models(Path(folder), count)
        for way, jobs in TURNS if count <= COUNT else TURNS[-1:]:
            with tempfile.TemporaryDirectory() as cache:
                yield {"cache": "empty", **measure(way, jobs, files, cache)}
                if (way, jobs) == TURNS[-1]:
                    yield {"cache": "filled", **measure(way, jobs, files, cache)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2], int(sys.argv[3]), sys.argv[4:])))
    else:
        for row in rows(*map(int, sys.argv[1:])):
            print(", ".join(f"{name} {shown(value)}" for name, value in row.items()), flush=True)
