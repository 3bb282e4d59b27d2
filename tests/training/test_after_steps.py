"""`--after-steps`: the flow pass where some steps of the optimizer lead."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import pytest

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_loss, check_problem
from tests.training.test_short import BATCH, PARAMS, X, Y, loss_fn

ADAM = optax.adam(1e-2)


def test_it_measures_where_the_steps_lead_and_goes_on_from_there() -> None:
    params, state = PARAMS, ADAM.init(PARAMS)
    for _ in range(7):
        updates, state = ADAM.update(jax.grad(loss_fn)(params, BATCH), state, params)
        params = optax.apply_updates(params, updates)
    found = check_loss(loss_fn, PARAMS, BATCH, optimizer=ADAM, after_steps=7, steps=3)
    assert found.flow is not None
    assert found.training is not None
    assert found.loss == pytest.approx(float(loss_fn(params, BATCH)), rel=1e-5)
    norms = [float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(jax.grad(loss_fn)(params, BATCH))]
    assert [p.gradient_norm for p in found.flow.parameters] == pytest.approx(norms, rel=1e-4)
    assert found.training.restored
    assert found.training.start == pytest.approx(found.loss, rel=1e-5)
    assert any("after 7 steps of your optimizer" in note for note in found.notes)


def test_a_zero_initialized_head_can_be_judged_then() -> None:
    def deep(params, batch):
        h = batch[0]
        for w in params["layers"]:
            h = jax.nn.sigmoid(h @ w)
        return jnp.mean((h @ params["head"] - batch[1]) ** 2)

    keys = jax.random.split(jax.random.key(0), 12)
    layers = [jax.random.normal(keys[0], (6, 16)), *(jax.random.normal(k, (16, 16)) / 8 for k in keys[1:])]
    params = {"layers": layers, "head": jnp.zeros((16, 1))}
    at_once = check_loss(deep, params, (X, Y), steps=0)
    assert any("--after-steps" in skip.reason for skip in at_once.skipped)
    by_itself = check_loss(deep, params, (X, Y))
    (finding,) = (each for each in by_itself.findings if each.rule == "vanishing-gradient")
    assert finding.message.startswith("After 20 steps of adam(0.001): ")
    assert not any("--after-steps" in skip.reason for skip in by_itself.skipped)
    later = check_loss(deep, params, (X, Y), after_steps=5)
    assert "vanishing-gradient" in {finding.rule for finding in later.findings}


def test_an_optimizer_that_cannot_step_is_an_error() -> None:
    def update(updates, state, params=None, *, curvature, **more):
        return updates, state

    optimizer = optax.GradientTransformationExtraArgs(optax.identity().init, update)
    problem = Problem(loss_fn, PARAMS, BATCH, optimizer=optimizer)
    with pytest.raises(GradscopeError, match="--after-steps") as caught:
        check_problem(problem, CheckOptions(after_steps=3), target="m.py")
    assert "curvature" in caught.value.why
