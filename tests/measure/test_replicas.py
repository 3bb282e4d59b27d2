"""Copies on several devices: which of them are not equal, against NumPy's own comparison of the shards."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import gradscope
from gradscope.measure.replicas import diverged, is_replicated
from gradscope.records import DivergedReplicas

GRID = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"))
WHOLE, SPLIT = NamedSharding(GRID, P()), NamedSharding(GRID, P("model"))
W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def made(copies: list[Any], sharding: NamedSharding = WHOLE, shape: tuple[int, ...] = (4, 3)) -> Any:
    """An array of one part for each device, which JAX does not look at."""
    parts = [jax.device_put(each, device) for each, device in zip(copies, GRID.devices.flat, strict=True)]
    return jax.make_array_from_single_device_arrays(shape, sharding, parts)


def found(array: Any) -> list[DivergedReplicas]:
    return list(diverged(["w"], [array]))


def test_one_copy_that_differs_is_told_with_how_much() -> None:
    other = W.copy()
    other[1, 2] += 0.5
    (each,) = found(made([W, W, other, W]))
    assert (each.name, each.axes, each.devices, each.differing) == ("w", ("data", "model"), 4, 1)
    assert (each.elements, each.size) == (1, 12)
    largest = float(np.abs([W, other]).max())
    assert each.apart == pytest.approx(float(other[1, 2] - W[1, 2]) / largest, rel=1e-6)


def test_parts_are_compared_with_copies_of_the_same_part_alone() -> None:
    top, bottom = W[:2], W[2:]
    assert found(made([top, bottom, top, bottom], SPLIT)) == []
    (each,) = found(made([top, bottom, top, -bottom], SPLIT))
    assert (each.axes, each.differing, each.size) == (("data",), 1, 6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.int32, jnp.uint8, jnp.bool_])
def test_one_bit_tells_in_every_dtype_and_so_do_exchanged_elements(dtype: Any) -> None:
    array = jnp.asarray(np.arange(12).reshape(4, 3) % 5 > 1, dtype)
    assert found(made([array] * 4)) == []
    flipped = array.at[3, 2].set(1 - array[3, 2]) if dtype != jnp.bool_ else array.at[3, 2].set(~array[3, 2])
    assert found(made([array, array, array, flipped]))[0].elements == 1
    swapped = array.at[0, 0].set(array[0, 2]).at[0, 2].set(array[0, 0])
    assert found(made([array, swapped, array, array]))[0].elements == 2


def test_the_bits_count_and_not_the_values() -> None:
    zero, nan = np.zeros((4, 3), np.float32), np.full((4, 3), np.nan, np.float32)
    assert found(made([nan] * 4)) == []
    (each,) = found(made([zero, -zero, zero, zero]))
    assert (each.elements, each.apart) == (12, 0.0)
    (each,) = found(made([zero, nan, zero, zero]))
    assert each.apart is None


def test_keys_are_compared_by_their_data() -> None:
    same = jax.device_put(jax.random.key(1), WHOLE)
    assert found(same) == []
    keys = [jax.device_put(jax.random.key(i), d) for i, d in enumerate(GRID.devices.flat)]
    (each,) = found(jax.make_array_from_single_device_arrays((), WHOLE, keys))
    assert each.differing == 3


@pytest.mark.parametrize(
    "array",
    [
        W,
        jnp.asarray(W),
        jax.device_put(W, NamedSharding(GRID, P(("data", "model")))),
        jax.device_put(W, WHOLE),
    ],
    ids=["numpy", "one device", "split over all", "copied"],
)
def test_what_has_no_copies_or_equal_ones_is_quiet(array: Any) -> None:
    assert found(array) == []


def test_only_copies_in_this_process_are_replicas() -> None:
    assert is_replicated(jax.device_put(W, SPLIT))
    assert not is_replicated(jax.device_put(W, NamedSharding(GRID, P(("data", "model")))))
    assert not is_replicated(W)


def loss(params: Any, batch: Any) -> Any:
    return jnp.mean((batch[0] @ params["w"] - batch[1]) ** 2)


X = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
BATCH = jax.device_put((X, X[:, :3] * 2), NamedSharding(GRID, P("data")))


def test_check_tells_parameters_and_batch() -> None:
    report = gradscope.check(loss, {"w": made([W, W + 1, W, W])}, BATCH, steps=0)
    (told,) = [each for each in report.findings if each.rule == "diverged-replicas"]
    assert told.parameter == "w"
    parts = [X[:4], X[:4], X[4:], X[4:] + 1]
    batch = made(parts, NamedSharding(GRID, P("data")), (8, 4)), BATCH[1]
    report = gradscope.check(loss, {"w": jax.device_put(W, WHOLE)}, batch, steps=0)
    assert report.flow is not None
    assert [each.name for each in report.flow.diverged] == ["batch[0]"]


def test_monitor_tells_that_the_copies_of_a_training_drift_apart() -> None:
    """Each device takes a step of its own size, and JAX was told not to look."""

    def own(gradient: Any) -> Any:
        return -1e-2 * gradient * (1 + jax.lax.axis_index("data").astype(jnp.float32))

    stepped = jax.shard_map(own, mesh=GRID, in_specs=P(), out_specs=P(), check_vma=False)
    drifting = optax.stateless(lambda gradients, _: jax.tree.map(stepped, gradients))
    params = {"w": jax.device_put(W, WHOLE)}
    report = gradscope.monitor(loss, params, BATCH, optimizer=drifting, steps=20)
    assert report.flow is not None
    told = [each for each in report.findings if each.rule == "diverged-replicas"]
    assert len(told) == len(report.flow.diverged) == 1
    assert report.flow.diverged[0].step == 1
    report = gradscope.monitor(loss, params, BATCH, optimizer=optax.sgd(1e-2), steps=20)
    assert report.flow is not None
    assert report.flow.diverged == ()
