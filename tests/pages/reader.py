"""Someone who reads a page with a model of their own at hand, and types what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gradscope.recording.file import Recording
from gradscope.records import Ending
from gradscope.serialization import report_json
from tests.pages.reading import ROOT
from tests.pages.shell import Shell, Typed
from tests.recording.made import heading, step
from tests.report.canned import healthy

MODEL = """
import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key, width=16, depth=2):
    sizes = [2, *[width] * depth, 1]
    keys = jax.random.split(key, len(sizes))
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2.0 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, sizes, sizes[1:])
    ]


def loss_fn(params, batch):
    x, y = batch
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return jnp.mean(((x @ params[-1]["w"] + params[-1]["b"])[:, 0] - y) ** 2)


def rows(seed, count):
    x = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    return x, x[:, 0] - np.abs(x[:, 1])


def batches():
    for seed in range(16):
        yield rows(seed, 32)


validation_batch = rows(99, 32)
optimizer = optax.adam(1e-2)
"""
RECURRENT = """
import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    w, v, out = jax.random.split(key, 3)
    return {
        "w": jax.random.normal(w, (2, 8)) / 2,
        "v": jax.random.orthogonal(v, 8),
        "out": jax.random.normal(out, (8, 1)) / 3,
    }


def loss_fn(params, batch):
    x, y = batch

    def step(state, now):
        return jnp.tanh(now @ params["w"] + state @ params["v"]), None

    state, _ = jax.lax.scan(step, jnp.zeros((x.shape[1], 8)), x)
    return jnp.mean(((state @ params["out"])[:, 0] - y) ** 2)


x = np.random.default_rng(0).normal(size=(24, 16, 2)).astype(np.float32)
batch = (x, x[-1, :, 0] - 0.5 * x[-2, :, 1])
optimizer = optax.adam(1e-2)
"""
CLASSIFIER = """
import numpy as np
import optax
from flax import nnx

model = nnx.Sequential(nnx.Linear(2, 16, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(16, 3, rngs=nnx.Rngs(1)))
x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
batch = (x, (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0))
optimizer = optax.adam(1e-2)
"""
SICK = MODEL.replace("adam(1e-2)", "sgd(3.0)")
PROBLEMS = """

import gradscope

tiny = critic = lambda: gradscope.Problem(loss_fn=loss_fn, params=init(jax.random.key(1)), batch=rows(3, 32))
"""


def problem_of(line: str) -> str:
    """What the reader has who needs this line."""
    if re.search(r"--through-time|--truncate", line):
        return RECURRENT
    if "--loss" in line:
        return CLASSIFIER
    return SICK if line.startswith("gradscope fix") else MODEL


def _reads(words: str, name: str) -> bool:
    made = rf"(?:--save|--record|--output|--write-baseline|>|=) ?{re.escape(name)}"
    return bool(re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", words)) and not re.search(made, words)


class Reader:
    """In a folder of their own, which git has; nothing is there before it is brought or made."""

    def __init__(self, folder: Path, own: str = "") -> None:
        self.folder, self.own = folder / "mine", own
        self.folder.mkdir()
        self.shell = Shell(self.folder, folder / "tools")
        self._git("init", "-q")

    def types(self, line: str) -> Typed:
        """With what the line names and the reader brings."""
        words = line.partition(" #")[0]
        for name in ("model.py", "my_model.py", "train.py"):
            if words.startswith("gradscope init"):
                (self.folder / name).unlink(missing_ok=True)
            elif re.search(rf"(?<!/){name}", words):
                self._write(name, self.own or problem_of(words) + PROBLEMS)
        if re.search(r"(?<!models/)deep_sigmoid_mlp.py", words):
            self._write("deep_sigmoid_mlp.py", (ROOT / "sample_models/deep_sigmoid_mlp.py").read_text())
        for name, make in BROUGHT.items():
            if _reads(words, name) and not (self.folder / name).exists():
                make(self.folder / name)
        for name, command in PREPARED.items():
            if _reads(words, name) and not (self.folder / name).exists():
                assert self.types(command).codes == [0]
        if re.search(r"gradscope check(?: --|$)|(?<!_)models/|pytest --gradscope", words):
            self._write("pyproject.toml", '[tool.gradscope]\ntargets = ["models/*.py"]\n')
            self._write("models/rnn.py", MODEL)
        return self.shell.types(re.sub(r"--steps \d{4,}", "--steps 200", line))

    def _write(self, name: str, text: str) -> None:
        """Committed, so that an edit can be taken back."""
        file = self.folder / name
        if not file.exists() or file.read_text() != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            self._git("add", name)
            self._git("commit", "-q", "--allow-empty", "-m", "as it is")

    def _git(self, *words: str) -> None:
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *words], cwd=self.folder, check=True, capture_output=True)


def trained() -> list[dict[str, Any]]:
    """Parameters as a training of `model.py` would save them."""
    import jax

    names: dict[str, Any] = {}
    exec(MODEL, names)
    return jax.tree.map(np.asarray, names["init"](jax.random.key(7)))


def by_path() -> dict[str, np.ndarray[Any, Any]]:
    return {f"{place}.{name}": leaf for place, layer in enumerate(trained()) for name, leaf in layer.items()}


def drawn() -> tuple[Any, Any]:
    x = np.random.default_rng(3).normal(size=(256, 2)).astype(np.float32)
    return x, x[:, 0] - np.abs(x[:, 1])


def run_folder(path: Path) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as keeper:
        keeper.save(path.resolve() / "9000", trained())


def safetensors(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(by_path(), path)


def parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    x, y = drawn()
    pq.write_table(pa.table({"height": x[:, 0], "width": x[:, 1], "label": y}), path)


def csv(path: Path) -> None:
    x, y = drawn()
    np.savetxt(path, np.column_stack([x, y]), delimiter=",", header="area,age,price", comments="")


def saved(path: Path) -> None:
    report_json.save(healthy(), str(path))


def recording(path: Path) -> None:
    with Recording(str(path), heading()) as kept:
        for number in range(3):
            kept.add(step(number, loss=2.0 - number))
        kept.end(Ending.COMPLETE, 3)


BROUGHT: dict[str, Callable[[Path], object]] = {
    "sample_models": lambda path: shutil.copytree(ROOT / "sample_models", path),
    "checkpoints": run_folder,
    "model.safetensors": safetensors,
    "checkpoint.npz": lambda path: np.savez(path, **by_path()),
    "step9000.npz": lambda path: np.savez(path, **by_path()),
    "train.npz": lambda path: np.savez(path, **dict(zip(("x", "y"), drawn(), strict=True))),
    "x.npy": lambda path: np.save(path, drawn()[0]),
    "y.npy": lambda path: np.save(path, drawn()[1]),
    "houses.csv": csv,
    "shard-0.parquet": parquet,
    "shard-1.parquet": parquet,
    **dict.fromkeys(("old.json", "new.json", "main.json", "branch.json", "init.json"), saved),
    **dict.fromkeys(("step1000.json", "step9000.json"), saved),
    "run.jsonl": recording,
}
"""What a reader has before the first line: data, checkpoints, runs of another day. Made when first named."""
PREPARED = {
    "gradscope-baseline.json": "gradscope check model.py --seeds 5 --write-baseline gradscope-baseline.json",
    "monitor-baseline.json": "gradscope monitor model.py --steps 200 --write-baseline monitor-baseline.json",
}
"""What a reader has typed on another day."""
