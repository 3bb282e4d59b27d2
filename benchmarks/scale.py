"""`gradscope check` over devices, parameters and layers: processor time and memory of the whole process.

A stack of residual layers, written out, and 16 rows for each device. Processor time is that of all threads,
so that other work on the machine hardly moves it; CPU devices share the same cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL = """
import jax, jax.numpy as jnp, numpy as np, optax

def init(key):
    keys = jax.random.split(key, {layers} + 1)
    scale = 1 / ({width} * {layers}) ** 0.5
    return {{"layers": [jax.random.normal(each, ({width}, {width})) * scale for each in keys[:-1]],
            "out": jax.random.normal(keys[-1], ({width}, 4)) / {width} ** 0.5}}

rng = np.random.default_rng(0)
batch = tuple(rng.normal(size=({rows}, size)).astype(np.float32) for size in ({width}, 4))
optimizer = optax.adam(1e-3)

def loss_fn(params, batch):
    x, y = batch
    for layer in params["layers"]:
        x = x + jax.nn.relu(x @ layer)
    return jnp.mean((x @ params["out"] - y) ** 2)
"""
MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, done.stdout, done.stderr, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""Runs a command and says what it and its processes used."""
ROWS = 16
DEVICES = [(devices, 8, 512) for devices in (1, 2, 4, 8)]
PARAMETERS = [(1, 8, width) for width in (128, 512, 2048, 6144)]
LAYERS = [(1, layers, 64) for layers in (10, 100, 500, 2000)]


def rows() -> Iterator[dict[str, Any]]:
    for devices, layers, width in dict.fromkeys([*DEVICES, *PARAMETERS, *LAYERS]):
        yield checked(devices, layers, width)


def checked(devices: int, layers: int, width: int) -> dict[str, Any]:
    """Each with an empty compilation cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.py")
        path.write_text(MODEL.format(layers=layers, width=width, rows=ROWS * devices))
        mesh = ["--mesh", f"data={devices}"] if devices > 1 else []
        command = [sys.executable, "-m", "gradscope", "check", str(path), "--no-progress", *mesh]
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command, "--format", "json"],
            env={**os.environ, "XDG_CACHE_HOME": folder},
            capture_output=True,
            text=True,
            check=True,
        )
    code, out, error, processor_s, largest = json.loads(done.stdout)
    if code not in (0, 1):
        raise RuntimeError(error)
    report = json.loads(out)
    return {
        "devices": devices,
        "layers": layers,
        "parameters": f"{sum(each['size'] for each in report['flow']['layers']):,}",
        "processor_s": processor_s,
        "memory_GiB": largest / 2**20,
        "verdict": report["verdict"],
    }
