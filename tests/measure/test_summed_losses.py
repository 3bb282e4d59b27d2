"""Means of devices that are summed, and losses that look like them and are those of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec as P

from gradscope import Problem
from gradscope.measure.dealt_rows import summed_losses
from gradscope.records import SummedLoss
from gradscope.trace.program import Tracer

MESH = Mesh(np.array(jax.devices()[:4]), ("data",))
RNG = np.random.default_rng(0)
BATCH = RNG.normal(size=(16, 6)).astype(np.float32), RNG.normal(size=(16, 2)).astype(np.float32)
PARAMS = {"w": jnp.asarray(RNG.normal(size=(6, 2)), jnp.float32)}
Loss = Callable[..., Any]


def errors(params: Any, x: Any, y: Any) -> Any:
    return (x @ params["w"] - y) ** 2


def mean(*given: Any) -> Any:
    return jnp.mean(errors(*given))


def decay(params: Any) -> Any:
    return 1e-3 * jnp.sum(params["w"] ** 2)


def entropy(params: Any, x: Any, y: Any) -> Any:
    return optax.softmax_cross_entropy(x @ params["w"], jax.nn.softmax(y)).mean()


SICK: dict[str, Loss] = {
    "mean": lambda p, x, y: lax.psum(mean(p, x, y), "data"),
    "cross-entropy in a jit": lambda p, x, y: lax.psum(jax.jit(entropy)(p, x, y), "data"),
    "over own rows": lambda p, x, y: lax.psum(jnp.sum(errors(p, x, y)) / x.shape[0], "data"),
    "with weight and decay": lambda p, x, y: 0.5 * lax.psum(mean(p, x, y), "data") + decay(p),
    "in half precision": lambda p, x, y: lax.psum(jnp.mean(errors(p, x, y).astype(jnp.bfloat16)), "data"),
}
HEALTHY: dict[str, Loss] = {
    "mean of means": lambda p, x, y: lax.pmean(mean(p, x, y), "data"),
    "over the number of devices": lambda p, x, y: lax.psum(mean(p, x, y), "data") / lax.axis_size("data"),
    "divided before": lambda p, x, y: lax.psum(mean(p, x, y) / 4, "data"),
    "times a share": lambda p, x, y: lax.psum(0.25 * mean(p, x, y), "data"),
    "sum over all": lambda p, x, y: lax.psum(jnp.sum(errors(p, x, y)), "data"),
    "over all rows": lambda p, x, y: lax.psum(jnp.sum(errors(p, x, y)) / 16, "data"),
    "over counted rows": lambda p, x, y: (
        lax.psum(jnp.sum(errors(p, x, y)), "data") / lax.psum(jnp.float32(x.shape[0]), "data")
    ),
    "a mean of weights": lambda p, x, y: lax.pmean(mean(p, x, y), "data") + jnp.mean(p["w"] ** 2),
}


def found(body: Loss, outside: Loss = lambda value: value, **more: Any) -> list[SummedLoss]:
    mapped = jax.shard_map(body, mesh=MESH, in_specs=(P(), P("data"), P("data")), out_specs=P(), **more)
    tracer = Tracer(Problem(lambda params, batch: outside(mapped(params, *batch)), PARAMS, BATCH))
    return list(summed_losses(tracer.trace(BATCH), BATCH, tracer.inputs(BATCH)))


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("name", SICK)
def test_a_sum_of_means_is_told_with_its_line(name: str, checked: bool) -> None:
    (one,) = found(SICK[name], check_vma=checked)
    assert (one.axes, one.devices, one.examples) == (("data",), 4, 4)
    assert one.source is not None
    assert "lax.psum" in one.source.text


@pytest.mark.parametrize("name", HEALTHY)
def test_a_loss_of_the_whole_batch_is_quiet(name: str) -> None:
    assert found(HEALTHY[name]) == []


def test_what_divides_outside_counts() -> None:
    assert found(SICK["mean"], lambda value: value / 4) == []
    assert len(found(SICK["mean"], lambda value: value / 3)) == 1


def test_a_term_that_is_only_shown_is_none_of_the_loss() -> None:
    assert found(lambda p, x, y: lax.pmean(mean(p, x, y), "data") + 0 * jnp.exp(SICK["mean"](p, x, y))) == []
