"""Batches on a mesh: the rows of the first one have to be divided, those of a later one need not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.errors import GradscopeError
from gradscope.load.meshes import placed
from gradscope.load.problem import Problem


def problem(*rows: int) -> Problem:
    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean((batch @ params["w"]) ** 2)

    return Problem(
        loss, {"w": np.ones((3, 2), np.float32)}, batches=[np.ones((n, 3), np.float32) for n in rows]
    )


def test_a_ragged_last_batch_lies_whole_on_each_device() -> None:
    found = list(placed(problem(8, 8, 5), {"data": 2}).batches())
    assert [batch.shape for batch in found] == [(8, 3), (8, 3), (5, 3)]
    shards = [{shard.data.shape for shard in batch.addressable_shards} for batch in found]
    assert shards == [{(4, 3)}, {(4, 3)}, {(5, 3)}]


def test_a_first_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(GradscopeError, match="has 5 rows"):
        placed(problem(5, 8), {"data": 2})
    assert len(jax.devices()) > 1


def shards(array: Any) -> set[tuple[int, ...]]:
    return {shard.data.shape for shard in array.addressable_shards}


def test_over_fsdp_rows_and_parameters_are_split() -> None:
    found = placed(problem(8), {"fsdp": 2})
    assert shards(found.params["w"]) == {(3, 1)}
    assert shards(next(found.batches())) == {(4, 3)}


def test_model_and_fsdp_split_parameters_along_axes_of_their_own() -> None:
    def loss(params: Any, batch: Any) -> Any:
        return jnp.sum(params["w"]) + jnp.sum(params["b"]) + jnp.sum(batch)

    params = {"w": np.ones((4, 8), np.float32), "b": np.ones(8, np.float32)}
    found = placed(Problem(loss, params, np.ones((8, 3), np.float32)), {"data": 1, "fsdp": 2, "model": 2})
    assert shards(found.params["w"]) == {(2, 4)}
    assert shards(found.params["b"]) == {(4,)}
    assert shards(next(found.batches())) == {(4, 3)}
    assert found.notes[-1].startswith("Laid out over 4 devices (data 1, fsdp 2, model 2), 4 of the 8 rows on")


def test_rows_are_divided_by_both_axes() -> None:
    with pytest.raises(GradscopeError, match="which `data=2,fsdp=2` of --mesh does not divide"):
        placed(problem(6), {"data": 2, "fsdp": 2})
