"""What devices do not agree on, against each device's own loss in a Python loop."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec as P

import gradscope
from gradscope.records import UnreducedShard

DEVICES = 4
SAME = P()
MESH = Mesh(np.array(jax.devices()[:DEVICES]), ("data",))
GRID = Mesh(np.array(jax.devices()[:DEVICES]).reshape(2, 2), ("data", "model"))
ROWS = np.random.default_rng(0)
X = ROWS.normal(size=(16, 3)).astype(np.float32)
Y = (X[:, :1] * np.arange(1, 17)[:, None]).astype(np.float32)
W = {"w": jnp.asarray(ROWS.normal(size=(3, 1)).astype(np.float32))}


def local(params: Any, x: Any, y: Any) -> Any:
    return jnp.mean((x @ params["w"] - y) ** 2)


def mean(params: Any, x: Any, y: Any) -> Any:
    return jax.lax.pmean(local(params, x, y), "data")


def mapped(body: Any, mesh: Any = MESH, out: Any = SAME, **more: Any) -> Any:
    shard = jax.shard_map(body, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=out, **more)
    return lambda params, batch: shard(params, *batch)


def unreduced(loss: Any) -> tuple[UnreducedShard, ...]:
    report = gradscope.check(loss, W, (X, Y), steps=0)
    assert report.flow is not None
    told = [each for each in report.findings if each.rule == "unreduced-shard"]
    assert len(told) == len(report.flow.unreduced)
    return report.flow.unreduced


def test_a_local_loss_is_told_with_what_each_device_has() -> None:
    (found,) = unreduced(mapped(local, check_vma=False))
    parts = [float(local(W, X[i : i + 4], Y[i : i + 4])) for i in range(0, 16, 4)]
    assert (found.axes, found.devices, found.differing) == (("data",), DEVICES, DEVICES - 1)
    assert found.loss == pytest.approx(parts[0], rel=1e-5)
    assert (found.lowest, found.highest) == pytest.approx((min(parts), max(parts)), rel=1e-5)
    assert found.source is not None
    assert found.source.file.endswith("test_shards.py")


def in_a_jit(params: Any, batch: Any) -> Any:
    return 2 * jax.jit(mapped(local, check_vma=False))(params, batch)


def test_it_is_found_inside_a_jit_and_before_other_operations() -> None:
    (found,) = unreduced(in_a_jit)
    parts = [2 * float(local(W, X[i : i + 4], Y[i : i + 4])) for i in range(0, 16, 4)]
    assert (found.lowest, found.highest) == pytest.approx((min(parts), max(parts)), rel=1e-5)


def along_two_axes(params: Any, x: Any, y: Any) -> Any:
    return jax.lax.pmean(local(params, x, y), "model")


def test_of_two_axes_the_device_that_differs_is_found() -> None:
    (found,) = unreduced(mapped(along_two_axes, GRID, check_vma=False))
    assert found.axes == ("data", "model")
    assert (found.devices, found.differing) == (4, 2)


def with_a_metric(params: Any, batch: Any) -> Any:
    def body(params: Any, x: Any, y: Any) -> Any:
        return mean(params, x, y), jnp.max(y)

    shard = jax.shard_map(
        body, mesh=MESH, in_specs=(P(), P("data"), P("data")), out_specs=(P(), P()), check_vma=False
    )
    return shard(params, *batch)


def spread(params: Any, batch: Any) -> Any:
    def errors(params: Any, x: Any, y: Any) -> Any:
        return (x @ params["w"] - y) ** 2

    return jnp.mean(mapped(errors, out=P("data"), check_vma=False)(params, batch))


@pytest.mark.parametrize(
    "loss",
    [
        mapped(mean),
        mapped(mean, check_vma=False),
        with_a_metric,
        spread,
        mapped(local, Mesh(np.array(jax.devices()[:1]), ("data",)), check_vma=False),
        lambda p, b: local(p, *b),
    ],
    ids=["checked", "unchecked", "a metric of its own", "spread", "one device", "no mesh"],
)
def test_what_agrees_or_does_not_reach_the_loss_is_quiet(loss: Any) -> None:
    assert unreduced(loss) == ()
