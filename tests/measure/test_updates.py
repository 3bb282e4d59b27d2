"""The first update of the user's optimizer, against optax itself."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Measurement
from gradscope.runs.check import check_loss
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, loss_of_two


def rms_of_updates(optimizer: Any) -> list[float]:
    gradients = jax.grad(loss_of_two)(TWO, BATCH)
    updates, _ = optimizer.update(gradients, optimizer.init(TWO), TWO)
    return [float(jnp.sqrt(jnp.mean(leaf**2))) for leaf in jax.tree.leaves(updates)]


def measured(optimizer: Any) -> Measurement:
    return check_loss(loss_of_two, TWO, BATCH, optimizer=optimizer).flow


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1),
        optax.adamw(1e-2),
        optax.chain(optax.clip_by_global_norm(1e-3), optax.adam(optax.constant_schedule(1e-2))),
        optax.multi_transform(
            {"fast": optax.sgd(1.0), "frozen": optax.set_to_zero()},
            lambda params: {name: "fast" if name == "first" else "frozen" for name in params},
        ),
    ],
    ids=["sgd", "adamw", "clipped-adam", "labels"],
)
def test_the_updates_are_those_of_optax(optimizer: Any) -> None:
    found = [parameter.update_rms for parameter in measured(optimizer).parameters]
    assert found == pytest.approx(rms_of_updates(optimizer), rel=1e-5)


def test_a_layer_pools_the_updates_of_its_leaves() -> None:
    by_leaf = rms_of_updates(optax.adam(1e-2))
    sizes = [np.size(leaf) for leaf in jax.tree.leaves(TWO)]
    squares = [size * rms**2 for size, rms in zip(sizes, by_leaf, strict=True)]
    layer = oracle.layer(measured(optax.adam(1e-2)), "first")
    count = len(layer.parameters)
    assert layer.update_rms == pytest.approx((sum(squares[:count]) / sum(sizes[:count])) ** 0.5, rel=1e-5)


def test_integer_leaves_take_no_part() -> None:
    params = {"w": jnp.ones((3,)), "steps": jnp.asarray(3)}
    report = check_loss(lambda p, b: jnp.sum(p["w"] * b), params, jnp.ones((3,)), optimizer=optax.sgd(0.5))
    assert [p.update_rms for p in report.flow.parameters] == [pytest.approx(0.5)]


def test_without_an_optimizer_there_are_none() -> None:
    found = measured(None)
    assert {p.update_rms for p in found.parameters} == {None}
    assert {layer.update_rms for layer in found.layers} == {None}


def test_the_loss_and_the_gradients_stay_bit_for_bit_the_same() -> None:
    without, given = measured(None), measured(optax.adam(1e-3))
    assert given.loss == without.loss
    assert [p.gradient_rms for p in given.parameters] == [p.gradient_rms for p in without.parameters]
