"""Faults of the loss itself, from a target to the finding."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from gradscope import check
from gradscope.records import Finding, Severity

RNG = np.random.default_rng(7)
X = RNG.normal(size=(32, 4)).astype(np.float32)
Y = X.sum(1)


class Mlp(nnx.Module):
    def __init__(self, out: int, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(4, 8, rngs=rngs)
        self.out = nnx.Linear(8, out, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.out(nnx.relu(self.hidden(x)))


def findings(loss: Any, params: Any, batch: Any) -> list[Finding]:
    return list(check(loss, params, batch).findings)


def test_a_broadcast_loss_names_the_line_and_the_last_layer() -> None:
    def loss(model: Any, batch: Any) -> Any:
        x, y = batch
        return jnp.mean((model(x) - y) ** 2)  # every prediction against every target

    (finding,) = findings(loss, Mlp(1, nnx.Rngs(0)), (X, Y))
    assert (finding.rule, finding.severity, finding.layer) == ("broadcast-loss", Severity.ERROR, "out")
    assert finding.source is not None
    assert "every prediction against every target" in finding.source.text
    assert findings(loss, Mlp(1, nnx.Rngs(0)), (X, Y[:, None])) == []


def test_a_softmax_that_the_model_and_the_loss_both_take_is_a_warning() -> None:
    labels = (Y > 0).astype(np.int32)
    model = Mlp(3, nnx.Rngs(0))

    def loss(model: Any, batch: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(nnx.softmax(model(batch[0])), batch[1]).mean()

    (finding,) = findings(loss, model, (X, labels))
    assert (finding.rule, finding.severity, finding.layer) == ("mismatched-output", Severity.WARNING, "out")


def test_a_relu_over_a_regression_and_a_loss_without_a_minimum_are_errors() -> None:
    def relu(model: Any, batch: Any) -> Any:
        return jnp.mean((nnx.relu(model(batch[0])) - batch[1]) ** 2)

    def endless(model: Any, batch: Any) -> Any:
        return -jnp.mean(model(batch[0])[jnp.arange(32), batch[1]])

    for loss, out, target in ((relu, 1, Y[:, None]), (endless, 3, (Y > 0).astype(np.int32))):
        (finding,) = findings(loss, Mlp(out, nnx.Rngs(0)), (X, target))
        assert (finding.rule, finding.severity, finding.layer) == ("mismatched-output", Severity.ERROR, "out")


def test_a_mean_over_classes_and_an_empty_state_are_told_of_a_model() -> None:
    onehot = np.eye(3, dtype=np.float32)[(Y > 0).astype(np.int32)]

    def averaged(model: Any, batch: Any) -> Any:
        return -jnp.mean(nnx.log_softmax(model(batch[0])) * batch[1])

    (finding,) = findings(averaged, Mlp(3, nnx.Rngs(0)), (X, onehot))
    assert (finding.rule, finding.severity, finding.layer) == (
        "unexpected-initial-loss",
        Severity.WARNING,
        "out",
    )


class Normalized(eqx.Module):
    blocks: list[eqx.nn.Linear]
    norms: list[eqx.nn.BatchNorm]

    def __init__(self, key: Any) -> None:
        self.blocks = [eqx.nn.Linear(4, 4, key=each) for each in jax.random.split(key, 6)]
        self.norms = [eqx.nn.BatchNorm(4, axis_name="batch", mode="ema") for _ in range(6)]

    def __call__(self, x: Any, state: Any) -> Any:
        for block, norm in zip(self.blocks, self.norms, strict=True):
            h, state = norm(block(x), state)
            x = x + jax.nn.relu(h)
        return x.sum(), state


def test_batchnorm_in_inference_mode_without_statistics_explains_the_explosion() -> None:
    model, state = eqx.nn.make_with_state(Normalized)(jax.random.key(0))

    def loss(model: Any, batch: Any) -> Any:
        x, y, state = batch
        out, state = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)
        return jnp.mean((out - y) ** 2), state

    found = findings(loss, eqx.nn.inference_mode(model), (X, Y, state))
    assert [(finding.rule, finding.severity) for finding in found] == [("wrong-mode", Severity.ERROR)]
    assert "exploding-gradient" in found[0].message
    assert findings(loss, model, (X, Y, state)) == []


class Vae(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.mean = nnx.Linear(4, 2, rngs=rngs)
        self.logvar = nnx.Linear(4, 2, rngs=rngs)
        self.decoder = nnx.Linear(2, 48, rngs=rngs)

    def __call__(self, x: Any, noise: Any) -> Any:
        mean, logvar = self.mean(x), self.logvar(x)
        return self.decoder(mean + jnp.exp(0.5 * logvar) * noise), mean, logvar


def test_a_mean_over_pixels_beside_a_sum_over_the_code_is_a_warning_at_its_line() -> None:
    noise, images = RNG.normal(size=(32, 2)), RNG.normal(size=(32, 48))

    def loss(model: Any, batch: Any, axis: Any = None) -> Any:
        x, noise, images = batch
        decoded, mean, logvar = model(x, noise)
        error = (decoded - images) ** 2
        kl = -0.5 * jnp.sum(1 + logvar - mean**2 - jnp.exp(logvar), axis=1)
        return jnp.mean(error if axis is None else error.sum(axis)) + jnp.mean(kl)

    batch = (X, noise, images)
    (finding,) = findings(loss, Vae(nnx.Rngs(0)), batch)
    assert (finding.rule, finding.severity) == ("unbalanced-loss-terms", Severity.WARNING)
    assert finding.layer in ("mean", "logvar")
    assert finding.source is not None
    assert "error = " in finding.source.text
    assert findings(lambda model, batch: loss(model, batch, 1), Vae(nnx.Rngs(0)), batch) == []
