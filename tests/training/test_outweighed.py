"""The entropy of a choice beside a term that is compared with the data: a policy and its bonus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.records import Report
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_problem
from tests.trace.oracle import normal

X = normal(0, 128, 6)
BEST = np.argmax(X @ normal(1, 6, 3), axis=1)
TAKEN = np.random.default_rng(2).integers(0, 3, 128)
BATCH = X, TAKEN, (TAKEN == BEST).astype(np.float32) - 1 / 3
PARAMS = {"w": normal(3, 6, 16, scale=0.4), "v": 0.01 * normal(4, 16, 3)}
Loss = Callable[[Any, Any], Any]


def policy(bonus: float, scale: float = 1.0, *, library: bool = False) -> Loss:
    def loss(params: Any, batch: Any) -> Any:
        x, taken, advantage = batch
        log_pi = jax.nn.log_softmax(jnp.tanh(x @ params["w"]) @ params["v"])
        chosen = jnp.take_along_axis(log_pi, taken[:, None], axis=1)[:, 0]
        entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, axis=1)
        if library:
            return scale * jnp.mean(-chosen * advantage - bonus * entropy)
        return -scale * jnp.mean(chosen * advantage) - scale * bonus * jnp.mean(entropy)

    return loss


def checked(loss: Loss, steps: int | None = None) -> Report:
    problem = Problem(loss, PARAMS, BATCH, optimizer=optax.adam(1e-2))
    return check_problem(problem, CheckOptions(steps=steps), target="m.py")


def rules(found: Report) -> list[str]:
    return [each.rule for each in found.findings if each.severity.value != "note"]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("library", [False, True])
def test_a_bonus_that_keeps_the_policy_random_is_told(scale: float, library: bool) -> None:
    found = checked(policy(5.0, scale, library=library))
    assert rules(found) == ["unbalanced-loss-terms"]
    assert found.training is not None
    tried = found.training.outweighed
    assert tried is not None
    assert tried.source is not None
    assert "entropy" in tried.source.text
    reward = policy(0.0, scale)
    np.testing.assert_allclose(tried.start, reward(PARAMS, BATCH), rtol=1e-3, atol=1e-6 * scale)
    np.testing.assert_allclose(tried.end_without, plain(reward, tried.steps), rtol=0.05)


def plain(loss: Loss, steps: int) -> float:
    """The slow way: the loss without the bonus after a plain loop."""
    optimizer, params = optax.adam(1e-2), PARAMS
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(jax.grad(loss)(params, BATCH), state)
        params = optax.apply_updates(params, updates)
    return float(loss(params, BATCH))


def test_a_usual_bonus_is_not_tried() -> None:
    found = checked(policy(0.01))
    assert rules(found) == []
    assert found.training is not None
    assert found.training.outweighed is None


def test_with_few_steps_nothing_is_tried() -> None:
    found = checked(policy(5.0), steps=5)
    assert found.training is not None
    assert found.training.outweighed is None


def test_what_normalizes_a_likelihood_is_left_alone() -> None:
    """Without the logarithm of the standard deviation the rest of it is least where that is infinite."""

    def loss(params: Any, batch: Any) -> Any:
        x, _, y = batch
        hidden = jnp.tanh(x @ params["w"])
        mean, log_std = hidden @ params["v"][:, :1], 3 + hidden @ params["v"][:, 1:2]
        return jnp.mean((mean - y[:, None]) ** 2 * jnp.exp(-2 * log_std) / 2 + log_std)

    found = checked(loss)
    assert found.training is not None
    assert found.training.outweighed is None


@pytest.mark.parametrize("name", ["by its logarithm", "by hand"])
def test_an_entropy_is_told_by_what_it_is_made_of(name: str) -> None:
    def loss(params: Any, batch: Any) -> Any:
        x, taken, advantage = batch
        logits = jnp.tanh(x @ params["w"]) @ params["v"]
        p = jax.nn.softmax(logits)
        log_p = jnp.log(p + 1e-8) if name == "by hand" else jax.nn.log_softmax(logits)
        q = p if name == "by hand" else jnp.exp(log_p)
        chosen = jnp.take_along_axis(log_p, taken[:, None], axis=1)[:, 0]
        return jnp.mean(-chosen * advantage + 5.0 * jnp.sum(q * log_p, axis=1))

    assert rules(checked(loss)) == ["unbalanced-loss-terms"]
