"""Feedback alignment is told with its angle to backpropagation, and a rule of its kind that does not train is
wrong."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.records import HandMadeGradient, Report
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_problem
from tests.trace.oracle import normal

X, TARGET = normal(1, 32, 6), normal(2, 32, 1)
PARAMS = {"a": normal(3, 6, 8, scale=0.4), "b": normal(4, 8, 8, scale=0.4), "c": normal(5, 8, 1, scale=0.4)}
BACK = {"a": normal(8, 8, 6), "b": normal(6, 8, 8, scale=0.4), "c": normal(7, 1, 8, scale=0.4)}


@jax.custom_vjp
def dense(x: Any, w: Any, back: Any) -> Any:
    return x @ w


def _forward(x: Any, w: Any, back: Any) -> Any:
    return x @ w, (x, back)


def _backward(kept: Any, g: Any) -> Any:
    x, back = kept
    return g @ back, x.T @ g, jnp.zeros_like(back)


dense.defvjp(_forward, _backward)


def network(params: Any, batch: Any, back: Any, layer: Any) -> Any:
    x, target = batch
    for name in ("a", "b"):
        x = jnp.tanh(layer(x, params[name], back[name]))
    return jnp.mean((layer(x, params["c"], back["c"]) - target) ** 2)


def aligned(params: Any, batch: Any) -> Any:
    return network(params, batch, BACK, dense)


def in_params(params: Any, batch: Any) -> Any:
    return network(params["weights"], batch, params["feedback"], dense)


def plain(params: Any, batch: Any) -> Any:
    return network(params, batch, BACK, lambda x, w, back: x @ w)


def checked(loss: Any, params: Any = PARAMS, rate: float = 0.05, **options: Any) -> Report:
    problem = Problem(loss, params, (X, TARGET), optimizer=optax.sgd(rate))
    return check_problem(problem, CheckOptions(**options), target="m.py")


@pytest.fixture(scope="module")
def report() -> Report:
    return checked(aligned)


def made(report: Report) -> HandMadeGradient:
    assert report.flow is not None
    assert report.flow.hand_made is not None
    return report.flow.hand_made


def trained(loss: Any, steps: int) -> Any:
    params = PARAMS
    for _ in range(steps):
        gradients = jax.grad(loss)(params, (X, TARGET))
        params = jax.tree.map(lambda w, g: w - 0.05 * g, params, gradients)
    return params


def angle(one: Any, other: Any) -> float:
    cosine = jnp.vdot(one, other) / jnp.linalg.norm(one) / jnp.linalg.norm(other)
    return float(np.degrees(np.arccos(cosine)))


def test_angles_and_losses_are_those_of_plain_jax(report: Report) -> None:
    found = made(report)
    for params, when in ((PARAMS, "start"), (trained(aligned, found.steps), "later")):
        own, true = (jax.grad(loss)(params, (X, TARGET)) for loss in (aligned, plain))
        for each in found.angles:
            slow = angle(own[each.layer], true[each.layer])
            assert getattr(each, when) == pytest.approx(slow, abs=0.1)
    assert found.start == pytest.approx(float(plain(PARAMS, (X, TARGET))), rel=1e-5)
    for loss, end in ((aligned, found.end), (plain, found.end_backpropagated)):
        assert end == pytest.approx(float(loss(trained(loss, found.steps), (X, TARGET))), rel=1e-4)


def test_it_is_a_note_with_the_angles_of_the_layers_that_get_another_gradient(report: Report) -> None:
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("hand-made-gradient", "note")
    assert "degrees at `a`" in finding.message
    assert "degrees at `c`" not in finding.message, "its gradient is that of backpropagation"
    assert report.verdict == "healthy"
    assert report.unexamined[0] == "gradients not verified (1 custom derivative rule)"


def test_matrices_that_lie_among_the_params_are_no_dead_weights() -> None:
    report = checked(in_params, {"weights": PARAMS, "feedback": BACK})
    assert set(made(report).feedback) == {"feedback.a", "feedback.b", "feedback.c"}
    assert "error" not in [each.severity for each in report.findings]


def test_one_that_does_not_train_is_a_wrong_gradient() -> None:
    report = checked(aligned, rate=-0.05)
    wrong = [each for each in report.findings if each.rule == "wrong-gradient"]
    assert len(wrong) == 1
    assert "do not lower the loss with it" in wrong[0].message
    assert "hand-made-gradient" not in [each.rule for each in report.findings]


def test_without_a_training_nothing_is_said() -> None:
    assert not checked(aligned, steps=0).findings


def test_a_mistake_in_a_rule_that_is_handed_an_array_which_makes_no_difference_stays_one() -> None:
    """The array goes into the rule, and what the rule gives does not depend on it."""
    wrong = jax.custom_vjp(lambda x, w, back: x @ w)
    wrong.defvjp(
        lambda x, w, back: (x @ w, (x, w, back)),
        lambda kept, g: (2 * g @ kept[1].T + 0 * kept[2].sum(), kept[0].T @ g, jnp.zeros_like(kept[2])),
    )

    def loss(params: Any, batch: Any) -> Any:
        return network(params, batch, BACK, wrong)

    assert "wrong-gradient" in [each.rule for each in checked(loss).findings]


@pytest.mark.parametrize("back", [jnp.ones((8, 8)) / 8, jnp.eye(8)])
def test_feedback_of_equal_numbers_of_a_compiled_function_is_meant(back: Any) -> None:
    """Turned around it is the same, and the function reads it where it is only handed on."""
    compiled = jax.custom_vjp(jax.jit(lambda x, w, back: x @ w))
    compiled.defvjp(_forward, _backward)

    def loss(params: Any, batch: Any) -> Any:
        x, target = batch
        h = compiled(jnp.tanh(x @ params["a"]), params["b"], back)
        return jnp.mean((jnp.tanh(h) @ params["c"] - target) ** 2)

    assert [each.rule for each in checked(loss).findings] == ["hand-made-gradient"]
