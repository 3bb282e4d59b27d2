"""What an optimizer stands, by asking it: against theory, and against steps on a parabola."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.records import OwnRate
from gradscope.trace.program import Tracer
from gradscope.training.alone import OptimizerAlone, momentum_of, own_rate, stable_curvature
from gradscope.training.optimizer import StepRule
from gradscope.training.parameter_groups import OptimizerProbe

PARAMS = {"a": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}


def asked(optimizer: Any) -> OwnRate:
    problem = Problem(
        lambda p, b: jnp.sum((b @ p["a"] + p["b"]) ** 2),
        PARAMS,
        np.ones((4, 2), np.float32),
        optimizer=optimizer,
    )
    tracer, batch = Tracer(problem), next(problem.batches())
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    alone = OptimizerAlone(StepRule.of(problem, tracer), program, inputs)
    probe = OptimizerProbe(alone, 20)
    return own_rate(alone, probe, probe.groups(program))


@pytest.mark.parametrize(
    ("optimizer", "stable"),
    [
        (optax.sgd(0.1), 20),
        (optax.sgd(0.1, momentum=0.9), 38),
        (optax.sgd(0.1, momentum=0.9, nesterov=True), 2 * 1.9 / (0.1 * 2.8)),
        (optax.chain(optax.clip_by_global_norm(1.0), optax.add_decayed_weights(0.1), optax.sgd(0.5)), 4),
        (optax.sgd(0.01, momentum=0.99), 2 * 1.99 / 0.01),
    ],
)
def test_it_stands_what_theory_says(optimizer: Any, stable: float) -> None:
    found = asked(optimizer)
    assert found.stable == pytest.approx(stable, rel=0.01)
    assert not found.reason


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        (optax.adam(1e-3), "have the same size whatever the gradient"),
        (optax.sgd(optax.linear_schedule(0.0, 0.1, 10)), "first step moves nothing"),
        (
            optax.multi_transform({"x": optax.sgd(0.1), "y": optax.sgd(0.2)}, {"a": "x", "b": "y"}),
            "some parameters otherwise than others",
        ),
        (optax.set_to_zero(), "it moves nothing"),
        (optax.sgd(optax.exponential_decay(0.1, 1, 0.5), momentum=0.9), "rate changes from step to step"),
    ],
)
def test_where_it_is_not_known_the_reason_is_said(optimizer: Any, reason: str) -> None:
    found = asked(optimizer)
    assert found.stable is None
    assert reason in found.reason


def test_momentum_is_one_factor_or_none() -> None:
    assert momentum_of([1.0, 0.0, 0.0, 0.0]) == 0
    assert momentum_of([1.0, 0.9, 0.81, 0.729]) == pytest.approx(0.9)
    assert momentum_of([1.0, 0.9, 0.5, 0.4]) is None
    assert momentum_of([1.0, 1.0, 1.0, 1.0]) is None


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_steps_of_the_optimizer_shrink_below_the_limit_and_grow_above_it(momentum: float) -> None:
    rate = 0.1
    stable = stable_curvature([rate, rate * momentum], momentum)
    assert stable == pytest.approx(2 * (1 + momentum) / rate)
    optimizer = optax.sgd(rate, momentum=momentum or None)
    for factor, grows in ((0.9, False), (1.1, True)):
        at, state = np.float32(1.0), optimizer.init(np.float32(1.0))
        for _ in range(300):
            update, state = optimizer.update(stable * factor * at, state)
            at = np.float32(at + update)
            if abs(at) > 1e6:
                break
        assert (abs(at) > 1) == grows
