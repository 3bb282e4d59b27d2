"""What of a training step lies on each device of a mesh, against the sizes of the shards."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import gradscope
from gradscope.report.shared.memory import parts_table, summary

MESH = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"))
X = np.ones((8, 6), np.float32)


def placed(value: Any, *spec: Any) -> Any:
    return jax.device_put(value, NamedSharding(MESH, P(*spec)))


def loss(params: Any, batch: Any) -> Any:
    return jnp.mean((jnp.tanh(batch @ params["w"]) @ params["v"] + params["b"]) ** 2)


PARAMS = {
    "w": placed(np.ones((6, 4), np.float32), None, "model"),
    "v": placed(np.ones((4, 2), np.float32), ("data", "model")),
    "b": placed(np.ones(2, np.float32)),
}


def on_each(array: Any) -> int:
    return int(array.addressable_shards[0].data.nbytes)


def test_each_device_holds_its_shards() -> None:
    report = gradscope.memory(loss, PARAMS, placed(X, "data"), optimizer=optax.adam(1e-3))
    found = report.memory
    assert found is not None
    each = found.by_device
    assert each is not None
    assert (each.axes, each.devices) == ({"data": 2, "model": 2}, 4)
    assert each.parameters == sum(map(on_each, PARAMS.values())) == 48 + 8 + 8
    assert each.optimizer_state == 2 * each.parameters + 4
    assert found.parameters == 4 * (24 + 8 + 2)
    assert found.difference is None
    assert found.compiled is not None
    assert found.step == found.compiled.peak + each.optimizer_state
    assert [each.what for each in report.skipped] == ["gradient checkpointing"]
    assert summary(found)[0].endswith("at its peak on each of 4 devices (data 2, model 2).")
    assert parts_table(found).columns[1].cells[0] == f"{each.parameters + each.data} B"


def test_without_a_mesh_there_is_one_device() -> None:
    whole = jax.tree.map(np.asarray, PARAMS)
    report = gradscope.memory(loss, whole, X, checkpoints=False)
    assert report.memory is not None
    assert report.memory.by_device is None
    assert "on each of" not in summary(report.memory)[0]
