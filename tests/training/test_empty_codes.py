"""Penalties on what layers put out, and whether anything is carried there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.records import EmptyCode, Report
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_problem
from gradscope.trace.program import Tracer
from gradscope.training.empty_codes import _penalties
from tests.trace.oracle import normal

X = normal(0, 64, 2) @ normal(1, 2, 12)
LABELS = (X[:, 0] > 0).astype(np.int32)
PARAMS = {
    "enc": normal(2, 12, 16, scale=0.3),
    "code": normal(3, 16, 4, scale=0.3),
    "dec": normal(4, 2, 16, scale=0.5),
    "out": normal(5, 16, 12, scale=0.3),
}
Loss = Callable[..., Any]


def autoencoder(beta: float, scale: float = 1.0) -> Loss:
    """Of two latent numbers."""

    def loss(params: Any, x: Any, key: Any) -> Any:
        mean, log_var = jnp.split(jnp.tanh(x @ params["enc"]) @ params["code"], 2, axis=1)
        z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
        again = jnp.tanh(z @ params["dec"]) @ params["out"]
        kl = 0.5 * jnp.sum(jnp.exp(log_var) + mean**2 - 1 - log_var, axis=1)
        return scale * jnp.mean(jnp.sum((again - x) ** 2, axis=1) + beta * kl)

    return loss


def checked(loss: Loss, params: Any, batch: Any, steps: int | None = None) -> Report:
    problem = Problem(loss, params, batch, optimizer=optax.adam(1e-2))
    return check_problem(problem, CheckOptions(steps=steps), target="m.py")


def tried(report: Report) -> EmptyCode | None:
    assert report.training is not None
    return report.training.empty_code


def told(report: Report) -> list[str]:
    return [each.rule for each in report.findings if each.severity.value != "note"]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_divergence_times_hundred_leaves_nothing_in_the_code(scale: float) -> None:
    report = checked(autoencoder(100.0, scale), PARAMS, X)
    assert told(report) == ["unbalanced-loss-terms"]
    assert "This penalty on the output of `code` outweighs" in report.findings[0].message
    found = tried(report)
    assert found is not None
    assert found.source is not None
    assert "kl" in found.source.text
    assert found.carried < 0.01 * found.carried_with_less


def test_the_usual_divergence_leaves_the_code_as_it_is() -> None:
    assert told(checked(autoencoder(1.0), PARAMS, X)) == []


def test_a_code_that_carries_something_beside_a_strong_penalty_is_quiet() -> None:
    found = checked(autoencoder(12.0), PARAMS, 6 * X)
    assert told(found) == []


class Classifier(eqx.Module):
    body: eqx.nn.Linear
    head: eqx.nn.Linear

    def __call__(self, x: Any) -> tuple[Any, Any]:
        h = jnp.tanh(self.body(x))
        return h, self.head(h)


def activity(strength: float) -> tuple[Loss, Any]:
    keys = jax.random.split(jax.random.key(0))
    model = Classifier(eqx.nn.Linear(12, 8, key=keys[0]), eqx.nn.Linear(8, 2, key=keys[1]))
    params, static = eqx.partition(model, eqx.is_array)

    def loss(params: Any, batch: Any, key: Any) -> Any:
        del key
        x, y = batch
        h, scores = jax.vmap(eqx.combine(params, static))(x)
        entropy = optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()
        return entropy + strength * jnp.sum(h**2)

    return loss, params


def test_a_sum_of_squared_activations_that_is_too_strong() -> None:
    loss, params = activity(1.0)
    report = checked(loss, params, (X, LABELS))
    assert "unbalanced-loss-terms" in told(report)
    found = tried(report)
    assert found is not None
    assert found.layers == ("body",)


def test_a_usual_one_is_not_tried() -> None:
    loss, params = activity(1e-6)
    assert tried(checked(loss, params, (X, LABELS))) is None


def test_a_divergence_that_a_library_computes() -> None:
    def forward(x: Any) -> Any:
        mean, log_std = jnp.split(hk.Linear(4, name="code")(jnp.tanh(hk.Linear(16)(x))), 2, axis=1)
        z = mean + jnp.exp(log_std) * jax.random.normal(hk.next_rng_key(), mean.shape)
        again = hk.Linear(12)(jnp.tanh(hk.Linear(16)(z)))
        return again, mean, log_std

    net = hk.transform(forward)

    def loss(params: Any, x: Any, key: Any) -> Any:
        again, mean, log_std = net.apply(params, key, x)
        kl = jnp.exp(2 * log_std) / 2 + mean**2 / 2 - 0.5 - log_std
        return optax.l2_loss(again, x).mean() + kl.mean()

    report = checked(loss, net.init(jax.random.key(0), X), X)
    assert told(report) == ["unbalanced-loss-terms"]


def test_with_few_steps_nothing_is_tried() -> None:
    assert tried(checked(autoencoder(100.0), PARAMS, X, steps=5)) is None


def likelihood(params: Any, x: Any) -> Any:
    """The logarithm of a deviation keeps the rest from being trivial."""
    h = jnp.tanh(x @ params["enc"])
    mean, log_std = h @ params["out"], h @ params["code"][:, :1]
    return jnp.mean((mean - x) ** 2 * jnp.exp(-2 * log_std) / 2 + log_std)


def logits(params: Any, x: Any) -> Any:
    scores = jnp.tanh(x @ params["enc"]) @ params["out"]
    return jnp.mean(jnp.maximum(scores, 0) - scores * (x > 0) + jnp.log1p(jnp.exp(-jnp.abs(scores))))


def decayed(params: Any, x: Any) -> Any:
    again = jnp.tanh(x @ params["enc"]) @ params["out"]
    return jnp.mean((again - x) ** 2) + jnp.sum(params["enc"] ** 2)


def policy(params: Any, x: Any) -> Any:
    log_pi = jax.nn.log_softmax(jnp.tanh(x @ params["enc"]) @ params["code"])
    entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, axis=1)
    return -jnp.mean(log_pi[:, 0] * x[:, 1] + entropy)


def contrastive(params: Any, x: Any) -> Any:
    """Nothing is compared with the data."""
    h = jnp.tanh(x @ params["enc"]) @ params["code"]
    return jnp.mean((h[::2] - h[1::2]) ** 2) - jnp.mean(jnp.log(jnp.std(h, axis=0) + 1e-4))


@pytest.mark.parametrize("loss", [likelihood, logits, decayed, policy, contrastive])
def test_other_terms_without_data_are_no_penalties_on_a_code(loss: Loss) -> None:
    assert _penalties(Tracer(Problem(loss, PARAMS, X)).trace(X)) is None
