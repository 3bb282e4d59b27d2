"""Decay rates of an optimizer's averages: against what it was made with, and the exchange against optax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.records import Report
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_problem
from gradscope.runs.preparing import Prepared, prepare
from gradscope.training.moments import averages, decay_rates
from gradscope.training.short import trainer_of
from gradscope.training.trainer import Trainer
from tests.training.test_short import BATCH, PARAMS, loss_fn


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(Problem(loss_fn, PARAMS, BATCH), progress=lambda text: None)


def trainer(prepared: Prepared, optimizer: Any) -> Trainer:
    _, tracer, _, flow, first, _ = prepared.for_training
    problem = Problem(loss_fn, PARAMS, BATCH, optimizer=optimizer)
    return trainer_of(problem, tracer, flow, first, ([BATCH], iter(())))


def rates(prepared: Prepared, optimizer: Any) -> set[tuple[float, float]]:
    return {found for _, found in averages(trainer(prepared, optimizer))}


ADAMS = {
    "adam": optax.adam(1e-3, b1=0.8, b2=0.97),
    "with a schedule": optax.adam(optax.cosine_decay_schedule(1e-2, 100), b1=0.8, b2=0.97),
    "clipped and decayed": optax.chain(
        optax.clip_by_global_norm(1e-3), optax.adamw(1e-2, b1=0.8, b2=0.97, weight_decay=0.1)
    ),
    "nadam": optax.nadam(1e-3, b1=0.8, b2=0.97),
    "lamb": optax.lamb(1e-3, b1=0.8, b2=0.97),
    "hyperparameters in the state": optax.inject_hyperparams(optax.adam)(1e-3, b1=0.8, b2=0.97),
}
OTHERS = {
    "sgd": optax.sgd(1e-2, momentum=0.9),
    "rmsprop": optax.rmsprop(1e-2, momentum=0.9),
    "lion": optax.lion(1e-3),
    "adafactor": optax.adafactor(1e-3),
    "adagrad": optax.adagrad(1e-2),
    "every second step": optax.MultiSteps(optax.adam(1e-3, b1=0.999, b2=0.9), 2),
}


@pytest.mark.parametrize("name", ADAMS)
def test_the_rates_are_those_that_it_was_made_with(prepared: Prepared, name: str) -> None:
    assert rates(prepared, ADAMS[name]) == {(0.8, 0.97)}


@pytest.mark.parametrize("name", OTHERS)
def test_other_optimizers_have_no_two_averages_beside_each_other(prepared: Prepared, name: str) -> None:
    assert rates(prepared, OTHERS[name]) == set()
    assert decay_rates(trainer(prepared, OTHERS[name]), 20, 1) is None


def test_the_largest_square_that_amsgrad_keeps_never_shrinks(prepared: Prepared) -> None:
    assert rates(prepared, optax.amsgrad(1e-3, b1=0.8, b2=0.97)) == {(0.8, 0.97), (0.8, 1.0)}


def test_each_part_of_an_optimizer_has_its_own(prepared: Prepared) -> None:
    parts = {"a": optax.adam(1e-3), "b": optax.adam(1e-3, b1=0.99, b2=0.9)}
    labels = {"body": "a", "head": "b"}
    assert rates(prepared, optax.multi_transform(parts, labels)) == {(0.9, 0.999), (0.99, 0.9)}


def after(optimizer: Any, steps: int) -> float:
    @jax.jit
    def step(params: Any, state: Any) -> Any:
        updates, state = optimizer.update(jax.grad(loss_fn)(params, BATCH), state, params)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        params, state = step(params, state)
    return float(loss_fn(params, BATCH))


@pytest.mark.parametrize(
    "make",
    [
        lambda b1, b2: optax.adam(1e-2, b1=b1, b2=b2),
        lambda b1, b2: optax.chain(
            optax.clip_by_global_norm(0.1),
            optax.scale_by_adam(b1=b1, b2=b2),
            optax.add_decayed_weights(1e-3),
            optax.scale(-3e-2),
        ),
    ],
    ids=["adam", "a chain"],
)
def test_the_exchange_is_the_optimizer_with_the_rates_exchanged(prepared: Prepared, make: Any) -> None:
    found = decay_rates(trainer(prepared, make(0.999, 0.9)), 20, 1)
    assert found is not None
    assert (found.first, found.second, found.steps) == (0.999, 0.9, 100)
    assert found.start == pytest.approx(float(loss_fn(PARAMS, BATCH)), rel=1e-5)
    assert found.end == pytest.approx(after(make(0.999, 0.9), 100), rel=1e-2)
    assert found.end_exchanged == pytest.approx(after(make(0.9, 0.999), 100), rel=1e-2)


def checked(optimizer: Any, scale: float = 1.0, steps: int | None = None) -> Report:
    def loss(params: Any, batch: Any) -> Any:
        return scale * loss_fn(params, batch)

    problem = Problem(loss, PARAMS, BATCH, optimizer=optimizer)
    return check_problem(problem, CheckOptions(steps=steps), target="m.py")


def severities(report: Report) -> list[str]:
    return [each.severity.value for each in report.findings if each.rule == "mismatched-betas"]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_swapped_rates_are_an_error_at_any_scale_of_the_loss(scale: float) -> None:
    assert severities(checked(optax.adam(3e-2, b1=0.999, b2=0.9), scale)) == ["error"]


def test_with_few_steps_they_are_a_warning() -> None:
    assert severities(checked(optax.adam(1e-2, b1=0.999, b2=0.9), steps=3)) == ["warning"]


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.95, 0.95), (0.0, 0.9), (0.5, 0.99), (0.9, 0.81)])
def test_usual_rates_and_equal_ones_are_quiet(prepared: Prepared, b1: float, b2: float) -> None:
    assert decay_rates(trainer(prepared, optax.adam(1e-2, b1=b1, b2=b2)), 20, 1) is None


def test_without_an_optimizer_there_is_nothing_to_ask() -> None:
    found = check_problem(Problem(loss_fn, PARAMS, BATCH), CheckOptions(steps=3), target="m.py").training
    assert found is not None
    assert found.decay_rates is None


def test_bfloat16_weights_with_wide_averages_have_the_same_rates(prepared: Prepared) -> None:
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    adam = optax.adam(1e-2, b1=0.999, b2=0.9)
    wide = optax.GradientTransformation(
        lambda params: adam.init(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)),
        lambda grads, state, params: adam.update(
            jax.tree.map(lambda leaf: leaf.astype(jnp.float32), grads), state, params
        ),
    )
    problem = Problem(loss_fn, params, BATCH, optimizer=wide)
    found = check_problem(problem, CheckOptions(steps=3), target="m.py").training
    assert found is not None
    assert found.decay_rates is not None
    assert (found.decay_rates.first, found.decay_rates.second) == (0.999, 0.9)


def test_a_loss_in_another_precision_is_looked_at() -> None:
    """The step is compiled for the dtype of the loss."""

    def half(params: Any, batch: Any) -> Any:
        return loss_fn(params, batch).astype(jnp.float16)

    report = check_problem(
        Problem(half, PARAMS, BATCH, optimizer=ADAMS["adam"]), CheckOptions(), target="half"
    )
    assert [each for each in report.skipped if "itself failed" in each.reason] == []
