"""Checkpoints of Orbax on a mesh: each device reads its own parts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from gradscope.errors import GradscopeError
from gradscope.load.model.checkpoints.loading import with_checkpoint
from gradscope.load.problem import Problem
from gradscope.load.target import load
from gradscope.records.options import LoadOptions

MESH = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"))
SPECS = {"up": {"w": P(None, "model"), "b": P()}, "down": P(("data", "model"), None)}
SAVED = {
    "up": {"w": np.arange(24, dtype=np.float32).reshape(4, 6), "b": np.arange(6, dtype=np.float32)},
    "down": np.arange(16, dtype=np.float32).reshape(8, 2),
}
BATCH = np.ones((4, 4), np.float32)


def save(path: Path, tree: Any) -> str:
    with warnings.catch_warnings(), ocp.PyTreeCheckpointer() as checkpointer:
        warnings.simplefilter("ignore")
        checkpointer.save(path.absolute(), tree)
    return str(path)


def placed(dtype: Any = np.float32) -> Any:
    return jax.tree.map(
        lambda a, spec: jax.device_put(np.zeros(a.shape, dtype), NamedSharding(MESH, spec)), SAVED, SPECS
    )


def laid_out_as(tree: Any, wanted: Any, values: Any = SAVED) -> None:
    for leaf, like, value in zip(*map(jax.tree.leaves, (tree, wanted, values)), strict=True):
        assert leaf.sharding == like.sharding
        assert leaf.dtype == like.dtype
        np.testing.assert_array_equal(np.asarray(leaf, np.float32), np.asarray(value, np.float32))


@pytest.fixture
def largest_copy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Elements of every array that NumPy or JAX got whole while a checkpoint was read."""
    seen: list[int] = []
    put = jax.device_put

    def watched(value: Any, *places: Any, **options: Any) -> Any:
        seen.extend(leaf.size for leaf in jax.tree.leaves(value) if hasattr(leaf, "size"))
        return put(value, *places, **options)

    monkeypatch.setattr(jax, "device_put", watched)
    return seen


def test_each_array_goes_straight_to_where_the_file_lays_it(tmp_path: Path, largest_copy: list[int]) -> None:
    path = save(tmp_path / "c", {"params": SAVED, "opt_state": {"mu": np.zeros((1000, 10))}, "step": 7})
    params = placed()
    largest_copy.clear()
    made = with_checkpoint(Problem(lambda p, b: 0.0, params, BATCH), path)
    laid_out_as(made.params, params)
    # Of `down` each of 4 devices has 4 elements, of `up.w` 12; a whole `up.w` has 24.
    assert max(largest_copy, default=0) <= 12
    assert "under `params`" in made.notes[0]


def test_a_checkpoint_of_a_mesh_is_read_onto_another_one(tmp_path: Path) -> None:
    other = Mesh(np.array(jax.devices()[:4]), ("x",))
    saved = jax.tree.map(lambda a: jax.device_put(a, NamedSharding(other, P(None))), SAVED)
    saved["down"] = jax.device_put(SAVED["down"], NamedSharding(other, P("x")))
    params = placed()
    made = with_checkpoint(Problem(lambda p, b: 0.0, params, BATCH), save(tmp_path / "c", saved))
    laid_out_as(made.params, params)


def test_a_cast_is_made_part_by_part_and_told(tmp_path: Path) -> None:
    params = placed(jnp.bfloat16)
    path = save(tmp_path / "c", SAVED)
    made = with_checkpoint(Problem(lambda p, b: 0.0, params, BATCH), path)
    laid_out_as(made.params, params)
    assert "cast from float32 to bfloat16" in made.notes[-1]
    whole = jax.tree.map(lambda a: a.astype(np.int32), SAVED)
    with pytest.raises(GradscopeError, match="is bfloat16 in the model and int32 in"):
        with_checkpoint(Problem(lambda p, b: 0.0, params, BATCH), save(tmp_path / "whole", whole))


PLAIN = """
import jax.numpy as jnp, numpy as np
def zeros(*shape):
    return np.zeros(shape, np.float32)
params = {"up": {"w": zeros(4, 6), "b": zeros(6)}, "down": zeros(8, 2)}
batch = np.ones((4, 4), np.float32)
def loss_fn(p, x):
    return jnp.sum((x @ p["up"]["w"] + p["up"]["b"]) ** 2) + jnp.sum(p["down"])
"""


def test_with_a_mesh_of_the_command_too(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(PLAIN)
    path = save(tmp_path / "c", SAVED)
    mesh = {"data": 2, "model": 2}
    bare = load(str(tmp_path / "model.py"), LoadOptions(mesh=mesh)).params
    made = load(str(tmp_path / "model.py"), LoadOptions(mesh=mesh, params=path))
    laid_out_as(made.params, bare)
    assert made.params["down"].sharding.spec == P("model")


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.up = nnx.Linear(4, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.norm(self.up(x), use_running_average=True)


def test_a_model_object_and_its_state(tmp_path: Path) -> None:
    saved = Net(nnx.Rngs(1))
    saved.norm.mean[...] = jnp.full(8, 3.0)
    path = save(tmp_path / "c", nnx.to_pure_dict(nnx.state(saved)))
    (tmp_path / "net.py").write_text(
        "import jax.numpy as jnp, numpy as np\nfrom flax import nnx\n"
        "from tests.load.test_sharded_checkpoints import Net\n"
        "model = Net(nnx.Rngs(0))\nbatch = np.ones((4, 4), np.float32)\n"
        "def loss_fn(model, x):\n    return jnp.mean(model(x) ** 2)\n"
    )
    mesh = {"data": 2, "model": 2}
    made = load(str(tmp_path / "net.py"), LoadOptions(mesh=mesh, params=path))
    kernel = made.params["up"]["kernel"]
    np.testing.assert_array_equal(kernel, saved.up.kernel[...])
    assert kernel.sharding.spec == P(None, "model")
    expected = float(jnp.mean(saved(BATCH) ** 2))
    assert float(made.loss(made.params, BATCH, jax.random.key(0))[0]) == pytest.approx(expected, rel=1e-6)
