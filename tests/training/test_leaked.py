"""Whether a model reads the target that stands in its input."""

from __future__ import annotations

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

X = normal(0, 96, 4)
LABEL = (X[:, 0] + normal(1, 96) > 0).astype(np.float32)
PARAMS = {"w": normal(2, 5, 8, scale=0.4), "v": normal(3, 8, scale=0.3)}


def loss(params: Any, batch: Any) -> Any:
    logits = jnp.tanh(batch["x"] @ params["w"]) @ params["v"]
    return optax.sigmoid_binary_cross_entropy(logits, batch["y"]).mean()


def blind(params: Any, batch: Any) -> Any:
    """Its last column is multiplied with weights that hardly count."""
    return loss(params | {"w": params["w"].at[-1].mul(1e-3)}, batch)


def table(column: Any) -> Any:
    return np.concatenate([X, column[:, None]], axis=1)


def checked(function: Any, batch: Any, steps: int | None = None) -> Report:
    problem = Problem(function, PARAMS, batch, optimizer=optax.adam(3e-2))
    return check_problem(problem, CheckOptions(steps=steps), target="m.py")


@pytest.fixture(scope="module")
def leaking() -> Report:
    return checked(loss, {"x": table(LABEL), "y": LABEL})


def test_a_label_among_the_inputs_is_a_warning(leaking: Report) -> None:
    (finding,) = [each for each in leaking.findings if each.severity.value != "note"]
    assert (finding.rule, finding.severity.value) == ("leaked-target", "warning")
    assert "column 4 of `x` says what `y` is in each row of the batch" in finding.message


def test_the_losses_are_those_of_a_plain_loop(leaking: Report) -> None:
    assert leaking.training is not None
    tried = leaking.training.leaked
    assert tried is not None
    optimizer, params, batch = optax.adam(3e-2), PARAMS, {"x": table(LABEL), "y": LABEL}
    state = optimizer.init(params)
    for _ in range(tried.steps):
        updates, state = optimizer.update(jax.grad(loss)(params, batch), state)
        params = optax.apply_updates(params, updates)
    other = LABEL[np.random.default_rng(0).permutation(96)]
    np.testing.assert_allclose(tried.start, loss(PARAMS, batch), rtol=1e-5)
    np.testing.assert_allclose(tried.end, loss(params, batch), rtol=1e-2)
    np.testing.assert_allclose(tried.exchanged, loss(params, {"x": table(other), "y": LABEL}), rtol=1e-2)


def test_a_column_that_is_hardly_read_is_not_told() -> None:
    report = checked(blind, {"x": table(LABEL), "y": LABEL})
    assert report.training is not None
    assert report.training.leaked is not None
    assert "leaked-target" not in [each.rule for each in report.findings]


def test_with_few_steps_no_column_is_tried() -> None:
    report = checked(loss, {"x": table(LABEL), "y": LABEL}, steps=5)
    assert report.training is not None
    assert report.training.leaked is None


def test_of_random_columns_a_target_that_is_one_of_them_is_a_note() -> None:
    params = {"w": normal(2, 4, 8, scale=0.4), "v": normal(3, 8, scale=0.3)}

    def squares(params: Any, batch: Any) -> Any:
        return jnp.mean((jnp.tanh(batch["x"] @ params["w"]) @ params["v"] - batch["y"]) ** 2)

    problem = Problem(squares, params, {"x": X, "y": X[:, 0]}, optimizer=optax.adam(3e-2))
    report = check_problem(problem, CheckOptions(), target="m.py")
    (finding,) = [each for each in report.findings if each.rule == "leaked-target"]
    assert finding.severity.value == "note"
