"""Labels of mostly one class, and outputs that are the same for all rows; and those that only look so."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from gradscope.records import Finding
from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 64, 8)).astype(np.float32)
LABELS = np.abs(X @ RNG.normal(size=(8, 3))).argmax(-1)
RARE = (X[..., 0] > 1.8).astype(np.int32)
TARGETS = np.tanh(X[..., :1]).astype(np.float32)


def normal(*shape: int) -> Any:
    return jnp.asarray(RNG.normal(size=shape) / np.sqrt(shape[0]), jnp.float32)


def params(out: int, offset: float = 0.0) -> Any:
    return {"w1": normal(8, 32), "b1": jnp.full(32, offset), "w2": normal(32, out), "b2": jnp.zeros(out)}


def logits(p: Any, x: Any) -> Any:
    return jax.nn.sigmoid(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]


def entropy(p: Any, batch: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits(p, batch[0]), batch[1]).mean()


def binary(p: Any, batch: Any) -> Any:
    return optax.sigmoid_binary_cross_entropy(logits(p, batch[0])[:, 0], batch[1]).mean()


def squared(p: Any, batch: Any) -> Any:
    return jnp.mean((logits(p, batch[0]) - batch[1]) ** 2)


def found(loss: Any, weights: Any, x: Any, y: Any, **options: Any) -> list[Finding]:
    options = {"optimizer": optax.adam(1e-3)} | options
    report = check_loss(loss, weights, batches=lambda: zip(x, y, strict=True), **options)
    assert not [each for each in report.skipped if "gradscope itself failed" in each.reason]
    return list(report.findings)


def of(rule: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.rule == rule]


@pytest.mark.parametrize(
    ("loss", "out", "labels"),
    [(entropy, 2, RARE), (binary, 1, RARE.astype(np.float32)), (entropy, 2, RARE > 0)],
)
def test_labels_of_mostly_one_class_are_a_note(loss: Any, out: int, labels: Any) -> None:
    weights = params(out)
    y = labels.astype(np.int32) if labels.dtype == bool else labels
    (finding,) = of("imbalanced-labels", found(loss, weights, X, y, steps=3))
    share = 1 - RARE.mean()
    rates = np.array([share, 1 - share])
    assert finding.severity.value == "note"
    assert f"{100 * share:.3g} % of the 256 labels `batch[1]` of 4 batches are 0" in finding.message
    assert finding.evidence["entropy"] == pytest.approx(-(rates * np.log(rates)).sum())


def test_mixed_labels_few_rows_and_inputs_that_are_integers_are_quiet() -> None:
    assert not of("imbalanced-labels", found(entropy, params(3), X, LABELS, steps=3))
    assert not of("imbalanced-labels", found(entropy, params(2), X[:1, :30], RARE[:1, :30], steps=3))

    def masked(p: Any, batch: Any) -> Any:
        x, (mask, y) = batch
        return jnp.sum(mask * jnp.sum((logits(p, x) - y) ** 2, -1)) / jnp.sum(mask)

    mask = (np.arange(64) < 63).astype(np.float32) * np.ones((4, 1), np.float32)
    pairs = list(zip(mask, TARGETS, strict=True))
    assert not of("imbalanced-labels", found(masked, params(1), X, pairs, steps=3))


class Module(eqx.Module):
    first: eqx.nn.Linear
    last: eqx.nn.Linear

    def __call__(self, x: Any) -> Any:
        return self.last(jnp.tanh(self.first(x) + 30.0))


class Network(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        return linen.Dense(3)(jnp.tanh(linen.Dense(32, bias_init=linen.initializers.constant(-30.0))(x)))


class Stack(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.first, self.last = nnx.Linear(8, 32, rngs=rngs), nnx.Linear(32, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(nnx.sigmoid(self.first(1e-6 * x)))


def frameworks() -> Any:
    one, two = jax.random.split(jax.random.PRNGKey(0))
    network, module = Network(), Module(eqx.nn.Linear(8, 32, key=one), eqx.nn.Linear(32, 3, key=two))
    cross = optax.softmax_cross_entropy_with_integer_labels
    return {
        "plain": (params(3, 40.0), entropy),
        "equinox": (module, lambda m, batch: cross(jax.vmap(m)(batch[0]), batch[1]).mean()),
        "linen": (
            network.init(one, X[0]),
            lambda p, batch: cross(network.apply(p, batch[0]), batch[1]).mean(),
        ),
        "nnx": (Stack(), lambda m, batch: cross(m(batch[0]), batch[1]).mean()),
    }


@pytest.mark.few(2)
@pytest.mark.parametrize("library", ["plain", "equinox", "linen", "nnx"])
def test_one_output_for_all_is_told_in_any_framework(library: str) -> None:
    weights, loss = frameworks()[library]
    findings = found(loss, weights, X, LABELS)
    silenced = [each for each in findings if "constant-output" in str(each.evidence.get("silenced", ""))]
    assert of("constant-output", findings) or silenced


def test_a_regression_with_one_output_is_told() -> None:
    weights = params(1)

    def loss(p: Any, batch: Any) -> Any:
        hidden = jax.nn.sigmoid(1e-7 * (batch[0] @ p["w1"] + p["b1"]))
        return jnp.mean((hidden @ p["w2"] + p["b2"] - batch[1]) ** 2)

    (finding,) = of("constant-output", found(loss, weights, X, TARGETS))
    assert finding.layer == "w2"
    assert "gives all 64 rows of the batch nearly the same output" in finding.message


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("loss", "weights", "y"),
    [
        (entropy, params(3), LABELS),
        (binary, params(1), RARE.astype(np.float32)),
        (entropy, {**params(3), "w2": jnp.zeros((32, 3))}, LABELS),
        (squared, {**params(1), "w2": jnp.zeros((32, 1))}, TARGETS),
        (squared, params(1), 1e4 + TARGETS),
        (squared, {**params(1), "b2": jnp.full(1, 1e4)}, 1e4 + TARGETS),
        (squared, params(1), np.ones_like(TARGETS)),
    ],
)
def test_healthy_outputs_are_quiet(loss: Any, weights: Any, y: Any) -> None:
    assert not of("constant-output", found(loss, weights, X, y))
    slow = optax.adam(optax.linear_schedule(0.0, 1e-3, 1000))
    assert not of("constant-output", found(loss, weights, X, y, optimizer=slow))


def actions(p: Any, batch: Any) -> Any:
    """Q-learning."""
    x, (action, reward, done, later) = batch
    best = jax.lax.stop_gradient(logits(p, later).max(-1))
    chosen = jnp.take_along_axis(logits(p, x), action[:, None], 1)[:, 0]
    return optax.huber_loss(chosen, reward + 0.9 * (1 - done) * best).mean()


def policy(p: Any, batch: Any) -> Any:
    x, (action, advantage, _, _) = batch
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(p, x)), action[:, None], 1)[:, 0]
    return -jnp.mean(chosen * advantage)


def survival(p: Any, batch: Any) -> Any:
    x, (event, time, _, _) = batch
    rate = jax.nn.softplus(logits(p, x)[:, 0])
    return jnp.mean(rate * jnp.abs(time) - event * jnp.log(rate + 1e-3))


def tasks(p: Any, batch: Any) -> Any:
    x, (task, y, _, _) = batch
    return jnp.mean((jnp.take_along_axis(logits(p, x), task[:, None], 1)[:, 0] - y) ** 2)


@pytest.mark.parametrize("loss", [actions, policy, survival, tasks])
def test_actions_tasks_and_events_are_no_labels(loss: Any) -> None:
    others = RNG.normal(size=(4, 64)).astype(np.float32), (X[..., 1] > 1.8).astype(np.float32), X[:, ::-1]
    rows = list(zip(RARE, *others, strict=True))
    assert not of("imbalanced-labels", found(loss, params(2), X, rows, steps=3))


def test_weights_that_are_looked_up_are_no_outputs() -> None:
    weights = {"w1": normal(8, 32), "h1": normal(32, 6, 16), "h2": normal(16, 6)}

    def loss(p: Any, batch: Any) -> Any:
        x, (task, y) = batch
        h = jax.nn.relu(x @ p["w1"])
        h = jax.nn.relu(jnp.einsum("bi,bio->bo", h, jnp.moveaxis(p["h1"], 1, 0)[task]))
        return jnp.mean((jnp.sum(h * p["h2"].T[task], -1) - y) ** 2)

    rows = list(zip(np.full((4, 64), 2), TARGETS[..., 0], strict=True))
    assert not of("constant-output", found(loss, weights, X, rows))
