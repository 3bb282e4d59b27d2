"""What is timed, and what is left out with a reason where it cannot be."""

from __future__ import annotations

from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import optax
import pytest

import gradscope
from gradscope.load.problem import Problem
from gradscope.records import Cost, Report
from gradscope.workload import measuring, step, timing
from tests.workload.programs import ones

PARAMS = {"w": ones(4, 3)}
X = ones(5, 4)


def loss(params: Any, x: Any) -> Any:
    return jnp.mean(jnp.tanh(x @ params["w"]))


def timed(loss: Any, **more: Any) -> tuple[Report, Cost]:
    report = gradscope.cost(loss, PARAMS, X, growth=False, **more)
    assert report.cost is not None
    return report, report.cost


def test_a_loss_that_calls_back_is_timed_as_a_whole() -> None:
    def called(params: Any, x: Any) -> Any:
        jax.debug.callback(lambda _: None, x)
        return loss(params, x)

    report, cost = timed(called)
    assert cost.whole_s
    assert cost.parts_s is None
    assert any("cannot be cut" in each.reason for each in report.skipped if each.what == "seconds by layer")


def test_parts_that_fail_leave_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no parts today")

    monkeypatch.setattr(measuring, "LayerParts", failing)
    report, cost = timed(loss)
    assert cost.whole_s
    assert cost.parts_s is None
    assert any("no parts today" in each.reason for each in report.skipped)


def test_an_optimizer_that_refuses_is_left_out_with_the_reason() -> None:
    import optax

    def update(*_: Any) -> Any:
        raise ValueError("not this gradient")

    optimizer = optax.GradientTransformation(lambda params: (), update)
    report, cost = timed(loss, optimizer=optimizer)
    assert cost.update is None
    assert cost.whole_s
    assert any(
        "not this gradient" in each.reason or "takes no step" in each.reason for each in report.skipped
    )


def test_programs_run_in_turn_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    runs = {name: lambda name=name: calls.append(name) or len(calls) for name in "ab"}
    found = timing.rounds(runs)
    assert calls[:6] == ["a", "b"] * 3
    assert len(found["a"]) == len(found["b"]) >= timing.FEWEST
    assert 1 not in found["a"]


def test_a_span_holds_half_of_the_runs() -> None:
    times = timing.Times.of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (times.low, times.median, times.high) == (2.0, 3.0, 4.0)


def test_xlas_own_count_is_near() -> None:
    _, cost = timed(loss)
    assert cost.compiled is not None
    assert cost.compiled.given_difference == pytest.approx(0.0, abs=0.02)
    assert cost.compiled.counted == cost.operations


def test_a_long_loss_runs_in_blocks_unless_it_is_wanted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(params: Any, x: Any) -> Any:
        for _ in range(12):
            for _ in range(3):
                x = jnp.sin(jnp.cos(jnp.tanh(x)))
            x = x @ params["w"] @ params["w"].T
        return jnp.mean(x)

    monkeypatch.setattr(step, "LONG", 10)
    _, blocks = timed(deep)
    assert blocks.blocks > 1
    assert blocks.compiled is not None
    assert blocks.compiled.compiled is None
    _, whole = timed(deep, whole=True)
    assert whole.blocks == 0
    assert whole.compiled is not None
    assert whole.compiled.compiled


def test_an_update_that_calls_back_is_counted_and_not_timed() -> None:
    ran: list[int] = []

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        jax.experimental.io_callback(lambda: ran.append(1), None, ordered=True)
        return jax.tree.map(lambda each: -0.1 * each, updates), state

    problem = Problem(loss, PARAMS, X, optimizer=optax.GradientTransformation(lambda _: (), update))
    report, cost = timed(problem)
    assert cost.update is not None
    assert ran == []
    assert any("seconds of the update" in each.what for each in report.skipped)
