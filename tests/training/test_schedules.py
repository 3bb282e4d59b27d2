"""Schedules that end within the first steps: against a loop at a constant rate; what else shrinks alike."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.runs.preparing import prepare
from gradscope.training import trainer
from gradscope.training.short import trainer_of
from tests.training.test_short import BATCH, PARAMS, loss_fn, plain_loop, report, rules, training

HALVED = optax.exponential_decay(1e-2, transition_steps=1, decay_rate=0.5)
ENDING = {
    "adam": (optax.adam(HALVED), optax.adam(1e-2)),
    "momentum": (optax.sgd(HALVED, momentum=0.9), optax.sgd(1e-2, momentum=0.9)),
    "hyperparameters": (
        optax.inject_hyperparams(optax.adam)(HALVED),
        optax.adam(1e-2),
    ),
    "chain": (
        optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(HALVED), optax.scale(-1.0)),
        optax.adam(1e-2),
    ),
}  # fmt: skip


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ENDING)
def test_the_schedule_held_is_the_training_at_a_constant_rate(name: str) -> None:
    ends, constant = ENDING[name]
    found = training(ends).decayed_rate
    assert found is not None
    assert (found.highest, found.steps) == (1, 100) if name != "momentum" else found.highest < 5
    assert found.ended < 20
    assert found.end == pytest.approx(plain_loop(ends, [BATCH] * 100)[1], rel=1e-4)
    if name != "momentum":
        assert found.end_held == pytest.approx(plain_loop(constant, [BATCH] * 100)[1], rel=1e-4)


def test_it_is_told_with_the_step_and_both_losses() -> None:
    (finding,) = report(ENDING["adam"][0]).findings
    assert finding.rule == "decayed-learning-rate"
    assert "from step 8 on an update is less than a hundredth of that at step 1" in finding.message


SHRINKING: dict[str, Any] = {
    "a usual decay": optax.adam(optax.cosine_decay_schedule(1e-2, 2_000)),
    "a fast decay that does its work": optax.sgd(optax.cosine_decay_schedule(0.3, 60)),
    "adagrad": optax.adagrad(0.3),
    "rmsprop": optax.rmsprop(1e-2),
    "warm-up": optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-2, 10, 2_000)),
    "a gradient that shrinks": optax.sgd(0.5),
    "accumulation": optax.MultiSteps(optax.adam(1e-2), 4),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("name", SHRINKING)
def test_updates_that_shrink_for_another_reason_are_no_schedule_that_ends(name: str) -> None:
    assert "decayed-learning-rate" not in rules(report(SHRINKING[name]))


def test_a_restored_state_goes_on_with_its_schedule() -> None:
    optimizer = ENDING["adam"][0]
    state = optax.tree_utils.tree_set(optimizer.init(PARAMS), count=jnp.asarray(2, jnp.int32))
    assert training(optimizer, optimizer_state=state).decayed_rate is None


def test_a_warm_up_without_an_end_is_the_schedule_at_powers_of_ten() -> None:
    schedule = optax.warmup_cosine_decay_schedule(0.0, 3e-3, 10_000_000, 20_000_000)
    found = report(optax.sgd(schedule))
    assert found.training is not None
    assert found.training.warm_up is not None
    ratios = [size / max(found.training.warm_up.sizes) for size in found.training.warm_up.sizes]
    assert ratios == pytest.approx([float(schedule(10**power)) / 3e-3 for power in range(2, 9)], rel=1e-3)
    (finding,) = found.findings
    assert finding.rule == "learning-rate-too-low"
    assert "is 0.01 of that at step 10,000,000" in finding.message


def test_a_warm_up_of_some_thousand_steps_is_none_too_long() -> None:
    assert rules(report(optax.adam(optax.linear_schedule(0.0, 3e-3, 10_000)))) == set()


def test_many_leaves_take_the_steps_of_a_loop_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = optax.adamw(optax.linear_schedule(0.0, 1e-2, 8, transition_begin=3))
    problem = Problem(loss_fn, PARAMS, BATCH, optimizer=optimizer)
    prepared = prepare(problem, progress=lambda text: None)
    _, tracer, _, flow, first, _ = prepared.for_training
    made = trainer_of(problem, tracer, flow, first, ([BATCH], iter(())))
    run, fresh = made.run(2), made.fresh(made.weights)
    whole = made.alone(run, fresh, 12)
    monkeypatch.setattr(trainer, "MANY", 0)
    by_part = made.alone(run, fresh, 12)
    assert (by_part[:4] == 0).all()
    assert (np.diff(by_part[4:]) > 0).all()
    np.testing.assert_allclose(by_part, whole, rtol=1e-5)
