"""Advice keeps frozen what the user froze, and has the form of the user's file."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

from gradscope.load.model.frameworks.table import assignment_of
from gradscope.load.problem import Problem
from gradscope.optimizers.candidates import named, one_of
from gradscope.optimizers.compare import compare
from gradscope.optimizers.feed import feed_of
from gradscope.optimizers.frozen import around, frozen_leaves
from gradscope.optimizers.own_rate import learning_rate_of
from gradscope.optimizers.range_test import find_rate
from gradscope.records.options import CompareOptions

PARAMS = {"body": {"b": np.ones(2, np.float32), "w": np.ones(2, np.float32)}, "head": np.ones(2, np.float32)}
LABELS = {"body": "keep", "head": "train"}
SPLIT = optax.multi_transform({"train": optax.adam(1e-3), "keep": optax.set_to_zero()}, LABELS)
MASKED = optax.masked(optax.adam(1e-3), {"body": False, "head": True})


def loss(params: Any, batch: Any) -> Any:
    body = params["body"]
    return jnp.sum((batch * (body["w"] * params["head"] + body["b"]) - 1.5) ** 2)


def problem(optimizer: Any) -> Problem:
    return Problem(loss, PARAMS, np.ones(2, np.float32), optimizer=optimizer)


def frozen(optimizer: Any) -> tuple[bool, ...]:
    return frozen_leaves(feed_of(problem(optimizer), 0), optimizer)


@pytest.mark.parametrize("optimizer", [SPLIT, MASKED])
def test_what_is_set_to_zero_or_masked_out_is_frozen(optimizer: Any) -> None:
    assert frozen(optimizer) == (True, True, False)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(1e-3),
        optax.sgd(1.0),
        optax.scale(1.0),
        optax.adam(optax.linear_schedule(0.0, 1.0, 10)),
        optax.MultiSteps(optax.adam(1e-3), 4),
        optax.lbfgs(),
    ],
)
def test_an_optimizer_of_all_parameters_freezes_none(optimizer: Any) -> None:
    assert not any(frozen(optimizer))


def test_other_optimizers_train_the_same_part_and_the_line_keeps_the_rest_frozen() -> None:
    start = problem(SPLIT)
    options = CompareOptions(("adam",), steps=40, seeds=1, grid=3)
    found = compare(start.reseeded, options, 0, lambda stage: None)
    assert found.best is not None
    assert found.best.name == "adam"
    prefix = "optimizer = optax.multi_transform({'train': optax.adam("
    assert found.recommendation.startswith(prefix)
    assert found.recommendation.endswith(", 'keep': optax.set_to_zero()}, {'body': 'keep', 'head': 'train'})")
    assert any(reason.startswith("Your optimizer does not train body.b, body.w") for reason in found.reasons)
    adamw = compare(start.reseeded, CompareOptions(("adamw",), steps=20, seeds=1, grid=1), 0, print)
    ends = {row.name: row.final_loss for row in adamw.contestants}
    assert ends["adamw"] < found.initial_loss


def test_params_that_are_no_dicts_get_a_remark_in_place_of_labels() -> None:
    def loss(params: Any, batch: Any) -> Any:
        return jnp.sum((params[0] * params[1] - batch) ** 2)

    params = [np.ones(2, np.float32), np.full(2, 0.5, np.float32)]
    optimizer = optax.masked(optax.adam(1e-3), [False, True])
    feed = feed_of(Problem(loss, params, np.ones(2, np.float32), optimizer=optimizer), 0)
    line = around("optax.sgd(0.1)", feed, frozen_leaves(feed, optimizer))
    assert line.startswith("optax.sgd(0.1)  # in the place of what trains now")


def test_the_line_has_the_form_of_what_holds_the_optimizer() -> None:
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    held = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    wanted = "optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)"
    assert assignment_of("optax.sgd(0.1)", held, model) == wanted
    assert assignment_of("optax.sgd(0.1)", optax.adam(1e-3), model) == wanted
    state = TrainState.create(apply_fn=None, params={}, tx=optax.adam(1e-3))
    assert assignment_of("optax.sgd(0.1)", state.tx, state) == "tx = optax.sgd(0.1)"
    assert assignment_of("optax.sgd(0.1)", optax.adam(1e-3), None) == "optimizer = optax.sgd(0.1)"


def test_a_keras_optimizer_is_answered_with_one() -> None:
    keras = pytest.importorskip("keras")
    held = keras.optimizers.Adam(1e-3)
    assert (
        assignment_of("optax.sgd(0.1, momentum=0.9)", held)
        == "optimizer = keras.optimizers.SGD(learning_rate=0.1, momentum=0.9)"
    )
    assert assignment_of("optax.contrib.muon(0.1)", held).startswith("# Keras has no optimizer of this kind")


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [
        (optax.adam(3e-3), 3e-3),
        (optax.sgd(0.1, momentum=0.9), 0.1),
        (optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(2e-3)), 2e-3),
        (optax.inject_hyperparams(optax.adam)(learning_rate=4e-3), 4e-3),
        (SPLIT, 1e-3),
        (optax.adam(optax.linear_schedule(0.0, 1.0, 10)), None),
        (optax.multi_transform({"a": optax.sgd(0.1), "b": optax.sgd(0.2)}, lambda p: p), None),
        (optax.scale(1.0), None),
    ],
)
def test_the_rate_of_an_own_optimizer_is_known_where_it_is_one_constant(optimizer: Any, rate: Any) -> None:
    assert learning_rate_of(optimizer) == pytest.approx(rate)


def test_the_range_test_answers_with_a_rate_where_a_rate_was_asked_for() -> None:
    def searched(start: Problem, name: str | None = None) -> Any:
        candidate = named(name) if name else one_of(start, None)
        return find_rate(start.reseeded, candidate, seed=0, seeds=1, steps=60, progress=print)

    own = searched(problem(optax.adam(2e-3)))
    assert own.is_factor
    assert own.learning_rate == pytest.approx(own.suggestion * 2e-3, rel=0.05)
    assert own.line == f"learning_rate = {own.learning_rate:g}"
    scheduled = searched(problem(optax.adam(optax.constant_schedule(1e-3))))
    assert scheduled.learning_rate is None
    assert scheduled.line.startswith("optimizer = optax.chain(optimizer, optax.scale(")
    other = searched(problem(SPLIT), "sgd")
    assert "'keep': optax.set_to_zero()" in other.line
