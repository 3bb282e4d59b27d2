"""Tasks of one loss: cosines and steps against plain `jax.grad` and optax, and what is no task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.records import Report, TaskGradients
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check, check_problem
from gradscope.trace import returned
from tests.trace.oracle import normal

X = normal(0, 64, 6)
BATCH = {"x": X, "a": np.sin(X[:, :1]), "b": np.cos(X[:, 1:2]), "kind": (X[:, 0] > 0).astype(np.int32)}
PARAMS = {
    "trunk": normal(1, 2, 6, 6, scale=0.4),
    "a": normal(2, 6, 1),
    "b": normal(3, 6, 2),
    "unshared": normal(4, 1),
}
SAMPLES = Path(__file__).parents[2] / "sample_models"
OPTIMIZER = optax.adam(1e-2)


def trunk(params: Any, batch: Any) -> Any:
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), batch["x"], params["trunk"])[0]


def task_a(params: Any, batch: Any) -> Any:
    error = trunk(params, batch) @ params["a"] + params["unshared"] - batch["a"]
    return jnp.mean(error**2)


def task_b(params: Any, batch: Any) -> Any:
    logits = trunk(params, batch) @ params["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["kind"]).mean()


def both(params: Any, batch: Any) -> Any:
    losses = {"a": task_a(params, batch), "b": task_b(params, batch)}
    total = losses["a"] + 0.5 * losses["b"] + 1e-3 * jnp.sum(params["a"] ** 2)
    return total, {**losses, "total": total, "accuracy": jnp.float32(0.5)}


def checked(loss: Callable[[Any, Any], Any], params: Any = PARAMS, batch: Any = BATCH) -> Report:
    problem = Problem(loss, params, batch, optimizer=OPTIMIZER)
    return check_problem(problem, CheckOptions(), target="m.py")


def tasks(report: Report) -> TaskGradients:
    assert report.training is not None
    assert not report.skipped
    assert report.training.tasks is not None
    return report.training.tasks


@pytest.fixture(scope="module")
def found() -> TaskGradients:
    return tasks(checked(both))


def flat(tree: Any) -> Any:
    return jnp.concatenate([jnp.ravel(each) for each in jax.tree.leaves(tree)])


def cosine(one: Any, other: Any) -> float:
    one, other = flat(one), flat(other)
    return float(one @ other / jnp.linalg.norm(one) / jnp.linalg.norm(other))


def test_cosines_are_those_of_the_gradients_of_each_loss(found: TaskGradients) -> None:
    assert [(each.name, each.compares) for each in found.tasks] == [("a", True), ("b", True)]
    (pair,) = found.pairs
    one, other = (jax.grad(each)(PARAMS, BATCH)["trunk"] for each in (task_a, task_b))
    assert pair.cosine == pytest.approx(cosine(one, other), abs=1e-4)
    assert pair.conflicting == float(pair.cosine < 0)
    rows = {each.layer: each.cosine for each in pair.layers}
    assert rows == {
        f"trunk[{row}]": pytest.approx(cosine(one[row], other[row]), abs=1e-4) for row in range(2)
    }, "what only one of them reaches is not shared"


def test_steps_are_those_of_the_optimizer_on_all_and_on_each_alone(found: TaskGradients) -> None:
    state = OPTIMIZER.init(PARAMS)

    def after(loss: Callable[[Any, Any], Any]) -> Any:
        return optax.apply_updates(PARAMS, OPTIMIZER.update(jax.grad(loss)(PARAMS, BATCH), state, PARAMS)[0])

    together = after(lambda params, batch: both(params, batch)[0])
    for task, loss, factor in zip(found.tasks, (task_a, task_b), (1.0, 0.5), strict=True):
        assert task.start.before == pytest.approx(factor * float(loss(PARAMS, BATCH)), rel=1e-5)
        assert task.start.together == pytest.approx(factor * float(loss(together, BATCH)), rel=1e-5)
        assert task.start.alone == pytest.approx(factor * float(loss(after(loss), BATCH)), rel=1e-5)
        assert task.later.alone is None
    assert found.whole == pytest.approx(
        [float(both(each, BATCH)[0]) for each in (PARAMS, together)], rel=1e-5
    )


def test_without_names_tasks_are_called_by_their_lines_also_under_jit() -> None:
    def loss(params: Any, batch: Any) -> Any:
        return task_a(params, batch) + task_b(params, batch)

    found = tasks(checked(jax.jit(loss)))
    assert len({each.name for each in found.tasks}) == 2
    assert all("test_tasks.py:" in each.name for each in found.tasks)


def test_in_a_tuple_they_are_called_by_their_lines_and_keys_stand_alone() -> None:
    def pair(params: Any, batch: Any) -> Any:
        a = task_a(params, batch)
        b = task_b(params, batch)
        return a + b, (a, b)

    names = [each.name for each in tasks(checked(pair)).tasks]
    assert len(set(names)) == 2
    assert all("test_tasks.py" in name for name in names)
    one = jnp.float32(1.0)
    assert returned.names(({"rec": one, "parts": [one]}, "state")) == ("parts.0", "rec")


def code(params: Any, batch: Any) -> Any:
    """A variational autoencoder, whose divergence is to rise as the code carries more."""
    mean, log_variance = jnp.split(batch["x"] @ params["w"], 2, axis=-1)
    rebuilt = (mean + jnp.exp(0.5 * log_variance)) @ params["v"]
    kl = 0.5 * jnp.mean(jnp.exp(log_variance) + mean**2 - 1 - log_variance)
    return jnp.mean((rebuilt - batch["x"]) ** 2) + 0.01 * kl


def decayed(params: Any, batch: Any) -> Any:
    return task_a(params, batch) + 1e-3 * sum(jnp.sum(each**2) for each in jax.tree.leaves(params))


CODE = {"w": normal(5, 6, 4, scale=0.1), "v": normal(6, 2, 6)}


def counts(params: Any, batch: Any) -> Any:
    """The likelihood of counts, in exposures that differ: its halves share every layer."""
    log_rate = (trunk(params, batch) @ params["a"])[:, 0]
    exposure, seen = 1 + batch["kind"], 1.0 + batch["kind"]
    return jnp.mean(exposure * jnp.exp(log_rate)) - jnp.mean(seen * log_rate)


def adversaries(params: Any, batch: Any) -> Any:
    """Each of two players holds the other one fixed: no layer belongs to both."""
    kept = jax.lax.stop_gradient
    made, critic = batch["x"] @ params["trunk"][0], params["a"]
    real, fake, fooled = (
        jnp.mean((values - aim) ** 2)
        for values, aim in (
            (batch["x"] @ critic, batch["kind"]),
            (kept(made) @ critic, 0.0),
            (made @ kept(critic), 1.0),
        )
    )
    return real + fake + fooled, {"critic": real + fake, "maker": fooled}


@pytest.mark.parametrize(
    ("loss", "params"),
    [(code, CODE), (decayed, PARAMS), (task_a, PARAMS), (counts, PARAMS), (adversaries, PARAMS)],
)
def test_divergences_penalties_halves_adversaries_and_one_loss_are_no_tasks(loss: Any, params: Any) -> None:
    report = checked(loss, params, BATCH)
    assert report.training is not None
    assert report.training.tasks is None


def test_a_named_divergence_is_shown_and_not_judged() -> None:
    def loss(params: Any, batch: Any) -> Any:
        mean, log_variance = jnp.split(batch["x"] @ params["w"], 2, axis=-1)
        rebuilt = (mean + jnp.exp(0.5 * log_variance)) @ params["v"]
        kl = 0.5 * jnp.mean(jnp.exp(log_variance) + mean**2 - 1 - log_variance)
        error = jnp.mean((rebuilt - batch["x"]) ** 2)
        return error + 0.01 * kl, {"error": error, "kl": kl}

    report = checked(loss, CODE, BATCH)
    assert {each.name: each.compares for each in tasks(report).tasks} == {"error": True, "kl": False}
    assert "conflicting-tasks" not in [each.rule for each in report.findings]


def test_one_head_for_opposite_tasks_is_told_and_a_head_for_each_is_not() -> None:
    (finding,) = check(str(SAMPLES / "shared_head.py")).findings
    assert (finding.rule, finding.severity) == ("conflicting-tasks", "note")
    assert finding.source is not None
    assert "comfort" in finding.source.text
    assert "raises the task `comfort`" in finding.message
    assert not check(str(SAMPLES / "own_heads.py")).findings
