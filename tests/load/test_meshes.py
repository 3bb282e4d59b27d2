"""`--mesh`: where the arrays of a file that knows of one device come to lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gradscope.errors import GradscopeError
from gradscope.load.target import load
from gradscope.records.options import LoadOptions

MODEL = """
import jax, jax.numpy as jnp, numpy as np

def init(key):
    return {
        "tall": jax.random.normal(key, (12, 6)), "square": jnp.ones((4, 4)), "odd": jnp.ones((3, 5)),
        "bias": jnp.zeros(6), "scale": jnp.ones(()), "heads": 2,
    }

def loss_fn(params, batch):
    x, y, weights = batch
    h = (x @ params["tall"] + params["bias"]) * params["scale"] + params["odd"].sum() + params["square"].sum()
    return jnp.mean((h.sum(-1) - y) ** 2) * weights.sum()

batches = [(np.ones((8, 12), np.float32) * i, np.arange(8.0), np.ones(3)) for i in (1, 2)]
validation_batch = batches[0]
"""
GRID = {"data": 2, "model": 2}
assert len(jax.devices()) == 4, "they are made before a test asks for another number"


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return str(path)


def spec(array: Any) -> Any:
    return array.sharding.spec


def test_parameters_are_split_along_their_largest_axis_that_fits(model: str) -> None:
    params = load(model, LoadOptions(mesh=GRID)).params
    assert spec(params["tall"]) == P("model")
    assert spec(params["square"]) == P(None, "model")
    assert spec(params["bias"]) == P("model")
    assert spec(params["odd"]) == spec(params["scale"]) == P()
    assert params["heads"] == 2


def test_rows_are_split_in_every_batch_and_other_arrays_are_whole(model: str) -> None:
    problem = load(model, LoadOptions(mesh=GRID))
    drawn = [*problem.batches()]
    assert [float(x[0, 0]) for x, _, _ in drawn] == [1, 2]
    for x, y, weights in (*drawn, problem.validation_batch):
        assert (spec(x), spec(y), spec(weights)) == (P("data"), P("data"), P())
    assert len([*problem.batches()]) == 2
    assert "4 devices (data 2, model 2), 4 of the 8 rows on each; 3 of 5 arrays" in problem.notes[-1]


def test_params_of_another_seed_lie_alike_and_have_other_values(model: str) -> None:
    problem = load(model, LoadOptions(mesh=GRID))
    other = problem.reseeded(1)
    assert spec(other.params["tall"]) == P("model")
    assert not np.array_equal(other.params["tall"], problem.params["tall"])


def test_without_an_axis_model_params_are_on_every_device(model: str) -> None:
    problem = load(model, LoadOptions(mesh={"data": 4}))
    assert {spec(leaf) for leaf in jax.tree.leaves(problem.params) if isinstance(leaf, jax.Array)} == {P()}
    assert len(problem.params["tall"].devices()) == 4


@pytest.mark.parametrize(
    ("mesh", "what", "fix"),
    [
        ({"data": 3}, "The batch has 8 rows, which `data=3` of --mesh does not divide.", "6 or 9 rows"),
        ({"data": 2, "model": 4}, "--mesh asks for 8 devices, and JAX has 4 (cpu).", "4 at most"),
    ],
)
def test_a_mesh_that_does_not_fit_is_told(model: str, mesh: Any, what: str, fix: str) -> None:
    with pytest.raises(GradscopeError) as caught:
        load(model, LoadOptions(mesh=mesh))
    assert caught.value.what == what
    assert fix in caught.value.fix
    assert caught.value.exit_code == 2


def test_devices_that_are_not_there_are_told(model: str) -> None:
    with pytest.raises(GradscopeError, match="--devices asks for 9 devices, and JAX has 4"):
        load(model, LoadOptions(devices=9))
    assert load(model, LoadOptions(devices=4)).notes == load(model).notes


def test_a_file_with_a_mesh_of_its_own_needs_no_other(model: str) -> None:
    own = "\nfrom jax.sharding import *\nmesh = jax.make_mesh((4,), ('x',))\n"
    own += "batches = jax.device_put(batches, NamedSharding(mesh, PartitionSpec()))\n"
    Path(model).write_text(MODEL + own)
    with pytest.raises(GradscopeError, match=r"batch\[0\] lies on a mesh already"):
        load(model, LoadOptions(mesh={"data": 4}))


def test_the_loss_is_that_of_one_device(model: str) -> None:
    plain, placed = load(model), load(model, LoadOptions(mesh=GRID))
    losses = [jax.jit(p.loss)(p.params, next(p.batches()), p.key())[0] for p in (plain, placed)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    assert jnp.isfinite(losses[0])
