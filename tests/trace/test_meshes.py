"""Several devices: the same layers, the same numbers and the same loss as on one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

from gradscope.records import Measurement
from tests.trace import oracle
from tests.trace.equations import same_equations
from tests.trace.oracle import (
    BATCH,
    RECURRENT,
    SEQUENCE,
    STACK,
    TWO,
    agreeing,
    apply,
    block,
    error,
    step,
    two_layers,
)

MESH = Mesh(np.array(jax.devices()[:4]), ("x",))
GRID = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("a", "b"))
ROWS = (P(), P("x"), P("x"))
checked = pytest.mark.parametrize("check_vma", [True, False], ids=["vma", "no vma"])


def dense_loss(p: Any, b: Any) -> Any:
    return error(two_layers(p, b[0]), b[1])


@pytest.fixture(scope="module")
def on_one_device() -> Measurement:
    return oracle.measured(dense_loss, TWO, BATCH)


def same(found: Measurement, expected: Measurement) -> None:
    assert oracle.names(found) == oracle.names(expected)
    for layer, other in zip(found.layers, expected.layers, strict=True):
        assert layer.delta_norm == pytest.approx(other.delta_norm, rel=1e-5)
        assert layer.delta_rms == pytest.approx(other.delta_rms, rel=1e-5)
        assert layer.activation_rms == pytest.approx(other.activation_rms, rel=1e-5)
        assert (layer.depth, layer.uses) == (other.depth, other.uses)


@checked
def test_data_parallel_shards_measure_as_one_batch(check_vma: bool, on_one_device: Measurement) -> None:
    def shard(p: Any, x: Any, y: Any) -> Any:
        return lax.pmean(error(two_layers(p, x), y), "x")

    mapped = jax.shard_map(shard, mesh=MESH, in_specs=ROWS, out_specs=P(), check_vma=check_vma)
    same(agreeing(lambda p, b: mapped(p, *b), TWO, BATCH), on_one_device)


@checked
def test_a_mesh_axis_left_to_the_compiler_changes_nothing(
    check_vma: bool, on_one_device: Measurement
) -> None:
    def shard(p: Any, x: Any, y: Any) -> Any:
        return lax.pmean(error(two_layers(p, x), y), "a")

    mapped = jax.jit(
        jax.shard_map(
            shard,
            mesh=GRID,
            in_specs=(P(), P("a"), P("a")),
            out_specs=P(),
            check_vma=check_vma,
            axis_names={"a"},
        )
    )
    same(agreeing(lambda p, b: mapped(p, *b), TWO, BATCH), on_one_device)


def test_weights_split_over_devices_measure_as_one_matrix(on_one_device: Measurement) -> None:
    def shard(p: Any, x: Any, y: Any) -> Any:
        h = jnp.tanh(apply(p["first"], x))
        return error(lax.psum(h @ p["second"]["w"], "x") + p["second"]["b"], y)

    split = {"first": {"w": P(None, "x"), "b": P("x")}, "second": {"w": P("x", None), "b": P()}}
    mapped = jax.shard_map(shard, mesh=MESH, in_specs=(split, P(), P()), out_specs=P())
    same(agreeing(lambda p, b: mapped(p, *b), TWO, BATCH), on_one_device)


@checked
def test_a_stack_of_layers_in_a_shard_map_is_a_row_each(check_vma: bool) -> None:
    def loss(p: Any, x: Any, y: Any) -> Any:
        return error(apply(p["head"], lax.scan(block, x, p["blocks"])[0]), y)

    def shard(p: Any, x: Any, y: Any) -> Any:
        return lax.pmean(loss(p, x, y), "x")

    mapped = jax.shard_map(shard, mesh=MESH, in_specs=ROWS, out_specs=P(), check_vma=check_vma)
    same_equations(lambda p, b: mapped(p, *b), STACK, BATCH)
    same(
        agreeing(lambda p, b: mapped(p, *b), STACK, BATCH),
        oracle.measured(lambda p, b: loss(p, *b), STACK, BATCH),
    )


def test_a_shard_map_in_a_stack_of_layers_is_a_row_each() -> None:
    across = jax.shard_map(lambda h, p: block(h, p)[0], mesh=MESH, in_specs=(P("x"), P()), out_specs=P("x"))

    def loss(p: Any, b: Any, inner: Any) -> Any:
        return error(apply(p["head"], lax.scan(lambda h, q: (inner(h, q), None), b[0], p["blocks"])[0]), b[1])

    same_equations(lambda p, b: loss(p, b, across), STACK, BATCH)
    same(
        agreeing(lambda p, b: loss(p, b, across), STACK, BATCH),
        oracle.measured(lambda p, b: loss(p, b, lambda h, q: block(h, q)[0]), STACK, BATCH),
    )


@checked
def test_a_recurrence_in_a_shard_map_has_its_delta_per_step(check_vma: bool) -> None:
    sequence = (np.concatenate([SEQUENCE[0]] * 4, 1)[:, :8], BATCH[1])

    def loss(p: Any, x: Any, y: Any) -> Any:
        start = jnp.zeros_like(x[0])
        return error(lax.scan(lambda h, x: (step(p["cell"], h, x), None), start, x)[0], y)

    def shard(p: Any, x: Any, y: Any) -> Any:
        return lax.pmean(loss(p, x, y), "x")

    specs = (P(), P(None, "x"), P("x"))
    mapped = jax.shard_map(shard, mesh=MESH, in_specs=specs, out_specs=P(), check_vma=check_vma)
    params = {"cell": RECURRENT["cell"]}
    found = agreeing(lambda p, b: mapped(p, *b), params, sequence)
    expected = oracle.measured(lambda p, b: loss(p, *b), params, sequence)
    np.testing.assert_allclose(
        oracle.recurrence(found).delta_norms, oracle.recurrence(expected).delta_norms, rtol=1e-5
    )


def test_remat_in_a_shard_map_changes_nothing(on_one_device: Measurement) -> None:
    def shard(p: Any, x: Any, y: Any) -> Any:
        return lax.pmean(error(jax.checkpoint(two_layers)(p, x), y), "x")

    mapped = jax.shard_map(shard, mesh=MESH, in_specs=ROWS, out_specs=P())
    same(agreeing(lambda p, b: mapped(p, *b), TWO, BATCH), on_one_device)


def test_sharded_arrays_measure_as_whole_ones(on_one_device: Measurement) -> None:
    split = {"first": {"w": P(None, "x"), "b": P("x")}, "second": {"w": P("x", None), "b": P()}}
    params = jax.device_put(TWO, jax.tree.map(lambda spec: NamedSharding(MESH, spec), split))
    batch = jax.device_put(BATCH, NamedSharding(MESH, P("x")))
    same(oracle.measured(dense_loss, params, batch), on_one_device)


def test_sharded_parameters_under_a_zero_head_are_looked_ahead() -> None:
    split = {"first": {"w": P(None, "x"), "b": P("x")}, "second": {"w": P("x", None), "b": P()}}
    zeroed = {"first": TWO["first"], "second": jax.tree.map(np.zeros_like, TWO["second"])}
    params = jax.device_put(zeroed, jax.tree.map(lambda spec: NamedSharding(MESH, spec), split))
    found = oracle.measured(dense_loss, params, jax.device_put(BATCH, NamedSharding(MESH, P("x"))))
    assert oracle.parameter(found, "first.w").nonzero_after_steps is True


def test_a_mesh_that_is_set_and_explicit_measures_the_same(on_one_device: Measurement) -> None:
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params = jax.device_put(TWO, NamedSharding(mesh, P()))
        batch = jax.device_put(BATCH, NamedSharding(mesh, P("x")))
        same(oracle.measured(dense_loss, params, batch), on_one_device)


def test_a_nan_on_one_device_has_no_step() -> None:
    def shard(p: Any, x: Any, y: Any) -> Any:
        return lax.pmean(error(two_layers(p, x), y), "x")

    mapped = jax.shard_map(shard, mesh=MESH, in_specs=ROWS, out_specs=P())
    poisoned = np.where(np.arange(8)[:, None] == 5, np.nan, BATCH[0]).astype(np.float32)
    found = oracle.measured(lambda p, b: mapped(p, *b), TWO, (poisoned, BATCH[1]))
    assert {value.step for value in found.nonfinite_values} == {None}
    assert [v.layer for v in found.nonfinite_values if v.forward] == ["first", "second"]
