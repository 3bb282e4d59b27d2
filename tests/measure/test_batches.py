"""Statistics over several batches, against a loop over them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, bumped_two, loss_of_two, normal


def test_several_batches_are_pooled_and_their_spread_is_told() -> None:
    batches = [(normal(i, 8, 4), normal(i + 50, 8, 4, scale=1.0 + i)) for i in range(3)]
    found = oracle.measured(loss_of_two, TWO, batches=batches, count=3)
    each = [oracle.plain(loss_of_two, TWO, batch) for batch in batches]
    losses = [value for value, _ in each]
    assert found.batches == 3
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert found.loss_spread == pytest.approx(np.std(losses), rel=1e-5)
    for i, parameter in enumerate(found.parameters):
        gradients = [grads[i] for _, grads in each]
        norms = [oracle.norm(g) for g in gradients]
        assert parameter.gradient_rms == pytest.approx(oracle.pooled_rms(gradients), rel=1e-5)
        assert parameter.gradient_norm == pytest.approx(np.sqrt(np.mean(np.square(norms))), rel=1e-5)
    norms = [np.hypot(*map(oracle.norm, grads[:2])) for _, grads in each]
    spread = oracle.layer(found, "first").gradient_norm_spread
    assert spread == pytest.approx(np.std(norms) / np.mean(norms), rel=1e-4)
    deltas = [oracle.deltas(bumped_two, TWO, batch)["first"] for batch in batches]
    assert oracle.layer(found, "first").delta_rms == pytest.approx(oracle.pooled_rms(deltas), rel=1e-5)


def test_batches_that_differ_in_a_python_number_are_not_measured_as_alike() -> None:
    def timed(p: Any, b: Any) -> Any:
        return loss_of_two(p, (b["x"] * (1 + b["t"]), b["y"]))

    batches = [{"x": BATCH[0], "y": BATCH[1], "t": t} for t in (0, 7)]
    report = check_loss(timed, TWO, batches=batches, count=2)
    assert report.flow.batches == 1
    assert any("1 of 2 batches" in skipped.what for skipped in report.skipped)


def test_a_second_batch_compiles_nothing() -> None:
    tracer = Tracer(Problem(loss_of_two, TWO, BATCH))
    inputs = tracer.inputs(BATCH)
    flow = FlowPass(tracer.trace(BATCH), inputs)
    compiled: list[str] = []

    def counted(name: str, seconds: float, **_: Any) -> None:
        compiled.append(name)

    jax.monitoring.register_event_duration_secs_listener(counted)
    try:
        flow(inputs)
        flow(tracer.inputs(tuple(part * np.float32(1e25) for part in BATCH)))
        assert [name for name in compiled if "compile" in name] == []
        jax.jit(lambda x: x * 3.25).lower(1.0).compile()
        assert [name for name in compiled if "compile" in name] != [], "the listener hears nothing"
    finally:
        jax.monitoring.unregister_event_duration_listener(counted)
