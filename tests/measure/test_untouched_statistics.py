"""Normalizations by running statistics that no batch has updated, exchanged for those of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.untouched_statistics import untouched_records, untouched_statistics
from gradscope.records import Severity
from gradscope.runs.check import check_loss
from gradscope.trace.jaxprs.rewriting import with_functions
from gradscope.trace.program import Tracer
from tests.trace.oracle import normal

N, F, D = 64, 6, 8
X = normal(0, N, F)
LABELS = np.argmax(X[:, :3] * np.roll(X[:, :3], 1, 1), 1)
PARAMS = {
    "w": normal(1, F, D) / 100,
    "scale": np.ones(D, np.float32),
    "shift": np.zeros(D, np.float32),
    "v": normal(2, D, 3) / 3,
}
ZEROS, ONES = jnp.zeros(D), jnp.ones(D)
Norm = Callable[[Any, Any, Any, Any], Any]


def flax_like(h: Any, p: Any, mean: Any, variance: Any) -> Any:
    mean, variance = jnp.expand_dims(mean, 0), jnp.expand_dims(variance, 0)
    times = lax.rsqrt(variance + 1e-5) * p["scale"].reshape(1, D)
    return (h - mean) * times + p["shift"].reshape(1, D)


def haiku_like(h: Any, p: Any, mean: Any, variance: Any) -> Any:
    return (h - mean) * (p["scale"] * lax.rsqrt(variance + 1e-5)) + p["shift"]


def keras_like(h: Any, p: Any, mean: Any, variance: Any) -> Any:
    times = lax.rsqrt(variance + 1e-3) * p["scale"]
    return h * times + (p["shift"] - mean * times)


def equinox_like(h: Any, p: Any, mean: Any, variance: Any) -> Any:
    def one(row: Any) -> Any:
        return p["scale"] * ((row - mean) / jnp.sqrt(variance + 1e-5)) + p["shift"]

    return jax.vmap(one)(h)


FORMS: dict[str, Norm] = {
    "flax": flax_like,
    "haiku": haiku_like,
    "keras": keras_like,
    "equinox": equinox_like,
    "jit": jax.jit(flax_like),
}


def loss_of(norm: Norm, mean: Any = ZEROS, variance: Any = ONES) -> Callable[[Any, Any], Any]:
    def loss(p: Any, batch: Any) -> Any:
        x, labels = batch
        h = jax.nn.relu(norm(x @ p["w"], p, mean, variance))
        return optax.softmax_cross_entropy_with_integer_labels(h @ p["v"], labels).mean()

    return loss


def of_the_batch(p: Any, batch: Any) -> Any:
    x, _ = batch
    h = x @ p["w"]
    return loss_of(flax_like, h.mean(0), h.var(0))(p, batch)


def found(loss: Any) -> Any:
    tracer = Tracer(Problem(loss, PARAMS, (X, LABELS)))
    program, inputs = tracer.trace((X, LABELS)), tracer.inputs((X, LABELS))
    return program, inputs, untouched_statistics(program, inputs)


@pytest.mark.parametrize("name", FORMS)
def test_it_is_exchanged_for_the_statistics_of_the_batch(name: str) -> None:
    program, inputs, norms = found(loss_of(FORMS[name]))
    (record,) = untouched_records(program, norms)
    assert record.variances == D
    body = with_functions(program.body, norms[0].functions)
    other = jax.core.eval_jaxpr(body.jaxpr, body.consts, *inputs.weights, *inputs.others)[0]
    np.testing.assert_allclose(other, of_the_batch(PARAMS, (X, LABELS)), rtol=2e-3)


def normalized_rows(h: Any, p: Any, mean: Any, variance: Any) -> Any:
    del p
    return (h - mean) * lax.rsqrt(jnp.mean(h**2, -1, keepdims=True) + variance[0])


TARGETS = X @ normal(5, F, D)


def error_of(made: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The mean square of it, for the output of the network."""
    return lambda p, batch: jnp.mean(
        made(jnp.tanh(batch[0] @ p["w"]) * p["scale"], jnp.sqrt(ONES + 1e-5)) ** 2
    )


def through_the_head(h: Any, p: Any, mean: Any, variance: Any) -> Any:
    """Scaled back to the units of the data: multiplied by the root."""
    del p
    return h * jnp.sqrt(variance + 1e-5) + mean


def twice_inverted(h: Any, p: Any, mean: Any, variance: Any) -> Any:
    del p
    return h / (1 / jnp.sqrt(variance + 1e-5)) + mean


@pytest.mark.parametrize("norm", [through_the_head, twice_inverted])
def test_scaling_back_is_no_normalization(norm: Norm) -> None:
    assert found(loss_of(norm))[2] == []


@pytest.mark.parametrize(
    "made",
    [
        lambda out, root: (out - TARGETS) / root,
        lambda out, root: (out - TARGETS) * (1 / root),
        lambda out, root: (out - 0.5) / root - TARGETS / root,
        lambda out, root: (out * root - TARGETS) / root,
    ],
)
def test_errors_in_units_of_a_deviation_are_no_normalization(made: Callable[[Any, Any], Any]) -> None:
    assert found(error_of(made))[2] == []


def divided(h: Any, p: Any, mean: Any, variance: Any) -> Any:
    return (h - mean) * (1 / jnp.sqrt(variance + 1e-5)) * p["scale"]


def test_times_one_over_the_root_is_one() -> None:
    assert len(found(loss_of(divided))[2]) == 1


@pytest.mark.parametrize(
    "loss",
    [
        of_the_batch,
        loss_of(flax_like, ZEROS, 1.01 * ONES),
        loss_of(flax_like, normal(3, D), np.abs(normal(4, D))),
        loss_of(lambda h, p, mean, variance: flax_like(h, p, mean, p["scale"])),
        loss_of(normalized_rows),
        loss_of(lambda h, *_: h * lax.rsqrt(1.0 + 1e-5)),
    ],
)
def test_statistics_of_batches_are_quiet(loss: Any) -> None:
    assert found(loss)[2] == []


def test_what_it_costs_is_tried() -> None:
    report = check_loss(loss_of(flax_like), PARAMS, (X, LABELS), optimizer=optax.sgd(0.1))
    (finding,) = [each for each in report.findings if each.rule == "wrong-mode"]
    assert finding.severity is Severity.ERROR
    assert "8 running variances, each of which is exactly 1" in finding.message
    assert report.flow is not None
    tried = report.flow.structure.over_batch
    assert tried is not None
    assert tried.better


def test_a_network_that_trains_as_well_without_is_quiet() -> None:
    params = {**PARAMS, "w": PARAMS["w"] * 40}
    report = check_loss(loss_of(flax_like), params, (X, LABELS), optimizer=optax.adam(1e-2))
    assert "wrong-mode" not in [each.rule for each in report.findings]
