"""Noise with a constant key: the trial against plain loops of optax, and programs that look like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gradscope.records import RepeatedNoise, Report
from gradscope.runs.check import check_loss
from gradscope.training.repeated_noise import NOISES, TIMES, UNSEEN

KEYS = jax.random.split(jax.random.key(1), 4)
PARAMS = {
    "in": jax.random.normal(KEYS[0], (8, 32)) / 8**0.5,
    "out": jax.random.normal(KEYS[1], (32, 8)) / 32**0.5,
}
X = jax.random.normal(KEYS[2], (24, 2)) @ jax.random.normal(KEYS[3], (2, 8))
OPTIMIZER = optax.adam(1e-2)


def denoised(params: Any, x: Any, noise: Any) -> Any:
    return jnp.mean((jnp.tanh((x + noise) @ params["in"]) @ params["out"] - noise) ** 2)


def by(make_key: Callable[[], Any]) -> Callable[[Any, Any], Any]:
    def loss_fn(params: Any, x: Any) -> Any:
        return denoised(params, x, jax.random.normal(make_key(), x.shape))

    return loss_fn


def told(loss: Any, **fields: Any) -> tuple[Report, tuple[RepeatedNoise, ...]]:
    report = check_loss(loss, PARAMS, X, optimizer=OPTIMIZER, **fields)
    assert report.training is not None, report.skipped
    return report, report.training.repeated_noise


def findings(report: Report) -> list[Any]:
    return [finding for finding in report.findings if finding.rule == "repeated-noise"]


@pytest.fixture(scope="module")
def sick() -> tuple[Report, tuple[RepeatedNoise, ...]]:
    return told(by(lambda: jax.random.key(0)))


def test_noise_that_is_learned_by_heart_is_an_error_at_the_line_of_its_key(sick: Any) -> None:
    (finding,) = findings(sick[0])
    assert finding.severity.value == "error"
    assert "by(lambda: jax.random.key(0))" in finding.source.text
    assert "of shape (24, 8), come from a key that is made of a number" in finding.message


def test_the_ends_are_those_of_plain_loops(sick: Any) -> None:
    trial, key = sick[1][0].trial, jax.random.key(0)
    steps = TIMES * 20

    def noise(number: int | None) -> Any:
        return jax.random.normal(key if number is None else jax.random.fold_in(key, number), X.shape)

    def trained(noises: list[Any]) -> Any:
        @jax.jit
        def step(params: Any, state: Any, noise: Any) -> Any:
            updates, state = OPTIMIZER.update(jax.grad(denoised)(params, X, noise), state, params)
            return optax.apply_updates(params, updates), state

        params, state = PARAMS, OPTIMIZER.init(PARAMS)
        for each in noises:
            params, state = step(params, state, each)
        return params

    def unseen(params: Any) -> Any:
        return [float(denoised(params, X, noise(UNSEEN + number))) for number in range(NOISES)]

    as_it_is, renewed = trained([noise(None)] * steps), trained([noise(step) for step in range(steps)])
    assert trial.steps == steps
    assert trial.start == pytest.approx(np.mean(unseen(PARAMS)), rel=1e-4)
    assert trial.seen == pytest.approx(float(denoised(as_it_is, X, noise(None))), rel=1e-2)
    assert trial.end == pytest.approx(np.mean(unseen(as_it_is)), rel=1e-2)
    assert trial.end_renewed == pytest.approx(np.mean(unseen(renewed)), rel=1e-2)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_scale_of_the_loss_changes_nothing(factor: float, sick: Any) -> None:
    loss = by(lambda: jax.random.key(0))
    (finding,) = findings(told(lambda params, x: factor * loss(params, x))[0])
    assert finding.severity.value == "error"


def test_a_key_of_the_loss_is_quiet() -> None:
    _, found = told(lambda params, x, key: denoised(params, x, jax.random.normal(key, x.shape)))
    assert found == ()


def test_random_features_are_no_noise_though_they_are_as_many_as_the_examples() -> None:
    def features(params: Any, x: Any) -> Any:
        projected = jnp.cos(x @ jax.random.normal(jax.random.key(0), (8, 24)))
        return jnp.mean((projected[:, :8] @ params["in"] @ params["out"] - x) ** 2)

    assert told(features)[1] == ()


def test_noise_that_costs_nothing_is_a_note() -> None:
    def slightly(params: Any, x: Any) -> Any:
        noise = jax.random.normal(jax.random.key(0), x.shape)
        return jnp.mean((jnp.tanh(x @ params["in"]) @ params["out"] - x) ** 2) + 1e-6 * jnp.mean(noise)

    (finding,) = findings(told(slightly)[0])
    assert finding.severity.value == "note"


def test_the_streams_of_a_model_are_drawn_anew() -> None:
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.body, self.head = nnx.Linear(8, 16, rngs=rngs), nnx.Linear(16, 8, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.head(self.dropout(jnp.tanh(self.body(x))))

    report = check_loss(lambda model, x: jnp.mean((model(x) - x) ** 2), Net(nnx.Rngs(0)), X)
    assert report.training is not None
    assert report.training.repeated_noise == ()


def test_one_mask_for_all_steps_is_seen_in_equinox() -> None:
    class Net(eqx.Module):
        body: eqx.nn.Linear
        dropout: eqx.nn.Dropout

        def __call__(self, x: Any, key: Any) -> Any:
            return self.dropout(self.body(x), key=key)

    net = Net(eqx.nn.Linear(8, 8, key=KEYS[0]), eqx.nn.Dropout(0.3))

    def loss(model: Any, x: Any) -> Any:
        keys = jax.random.split(jax.random.PRNGKey(0), len(x))
        return jnp.mean((jax.vmap(model)(x, keys) - x) ** 2)

    report = check_loss(loss, net, X, steps=3)
    assert report.training is not None
    (found,) = report.training.repeated_noise
    assert (found.shape, found.trial) == ((24, 8), None)
    assert [f.severity.value for f in findings(report)] == ["warning"]
