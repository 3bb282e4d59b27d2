"""Penalties on weights: what they add to the loss, and programs that they hold up or do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.special import gammaln

from gradscope.load.problem import Problem
from gradscope.records import Report
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer
from gradscope.training.penalties import Penalty, _penalties
from tests.training.test_short import BATCH, PARAMS, loss_fn

Loss = Callable[[Any, Any], Any]


def leaves_of(p: Any) -> list[Any]:
    return jax.tree.leaves(p)


@jax.jit
def squares(p: Any) -> Any:
    return 0.5 * sum(jnp.sum(leaf**2) for leaf in leaves_of(p))


def of_a_helper(p: Any) -> Any:
    return 0.3 * squares(p) + 1e-2 * optax.tree_utils.tree_norm(p)


def in_bfloat16(p: Any) -> Any:
    return sum(jnp.sum(leaf.astype(jnp.bfloat16).astype(jnp.float32) ** 2) for leaf in leaves_of(p))


PENALTIES: dict[str, Callable[[Any], Any]] = {
    "leaf by leaf": lambda p: 0.7 * sum(jnp.sum(leaf**2) for leaf in leaves_of(p)),
    "a mean": lambda p: -jnp.mean(jnp.abs(p["body"]["w"])) / 3,
    "a compiled helper": of_a_helper,
    "called twice": lambda p: squares(p) + 2 * squares(p["head"]),
    "half precision": in_bfloat16,
    "optax": lambda p: 1e-3 * optax.tree_utils.tree_norm(p, squared=True),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_what_it_adds_and_its_gradient_are_those_of_the_function(name: str) -> None:
    penalty = PENALTIES[name]

    def loss(p: Any, batch: Any) -> Any:
        return loss_fn(p, batch) * 1.5 + penalty(p)

    tracer = Tracer(Problem(loss, PARAMS, BATCH))
    program, inputs = tracer.trace(BATCH), tracer.inputs(BATCH)
    found = Penalty(program, [spot for spot, _ in _penalties(program)], inputs)
    value, gradients = found(list(inputs.weights))
    true, of = jax.value_and_grad(penalty)(PARAMS)
    assert float(value) == pytest.approx(float(true), rel=1e-5)
    for ours, theirs in zip(gradients, jax.tree.leaves(of), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def checked(penalty: Callable[[Any], Any], optimizer: Any = None) -> Report:
    def loss(p: Any, batch: Any) -> Any:
        return loss_fn(p, batch) + penalty(p)

    return check_loss(loss, PARAMS, BATCH, optimizer=optimizer or optax.adam(1e-2))


def test_one_that_keeps_the_rest_from_falling_is_an_error() -> None:
    found = checked(lambda p: 3.0 * squares(p))
    (finding,) = found.findings
    assert (finding.rule, finding.severity.value) == ("unbalanced-loss-terms", "error")
    assert "A penalty on the weights holds the loss up: 100 steps" in finding.message
    assert finding.source is not None
    assert "sum(jnp.sum(leaf**2)" in finding.source.text


def test_a_normalizing_constant_is_no_penalty() -> None:
    """The likelihood of a Beta distribution: what it divides by is a function of the weights alone."""

    def loss(p: Any, x: Any) -> Any:
        a, b = p["a"], p["b"]
        kernel = (a - 1) * jnp.log(x) + (b - 1) * jnp.log(1 - x)
        return -jnp.mean(kernel + gammaln(a + b) - gammaln(a) - gammaln(b))

    x = jnp.array([0.2, 0.5, 0.55, 0.7, 0.9])
    assert check_loss(loss, {"a": jnp.array(1.0), "b": jnp.array(1.0)}, x).findings == ()


def test_a_term_with_a_minimum_elsewhere_is_no_penalty() -> None:
    """A known scale that weights are to have, and a log of one: neither pulls to 0."""
    for term in (
        lambda p: 3.0 * jnp.sum((p["body"]["w"] - 1.0) ** 2),
        lambda p: 3.0 * sum(jnp.sum((leaf**2 - 1.0) ** 2) for leaf in leaves_of(p)),
    ):
        found = checked(term)
        assert found.training is not None
        assert found.training.unpenalized is None


@pytest.mark.parametrize("factor", [1e-4, 1e-2])
def test_a_usual_one_is_not_even_tried(factor: float) -> None:
    found = checked(lambda p: factor * squares(p))
    assert found.findings == ()
    assert found.training is not None
    assert found.training.unpenalized is None


def test_without_a_penalty_or_with_one_that_reads_the_batch_there_is_nothing_to_try() -> None:
    def weighed(p: Any, batch: Any) -> Any:
        return loss_fn(p, batch) + 3.0 * squares(p) * jnp.mean(batch[0] ** 2)

    for loss in (loss_fn, weighed, lambda p, batch: squares(p)):
        tracer = Tracer(Problem(loss, PARAMS, BATCH))
        assert [*_penalties(tracer.trace(BATCH))] == []
