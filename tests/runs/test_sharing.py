"""What several passes of one check need is made once: the batch, and the program of the loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_problem


def test_one_trace_and_one_draw_serve_flow_verification_and_histograms() -> None:
    counted: Counter[str] = Counter()

    def loss_fn(params: Any, batch: Any) -> Any:
        counted[str(params["w"].dtype)] += 1
        return jnp.mean((batch @ params["w"]) ** 2)

    def batches() -> Iterator[Any]:
        while True:
            counted["draws"] += 1
            yield np.ones((4, 3), np.float32)

    problem = Problem(loss_fn, {"w": jnp.ones((3, 1))}, batches=batches)
    report = check_problem(problem, CheckOptions(verified=True, histograms=True, steps=0), target="m.py")
    assert report.gradients.leaves
    assert report.flow.histograms
    # Float64 is another program of the same loss.
    assert counted == {"float32": 1, "float64": 1, "draws": 1}


def test_a_loss_that_float64_cannot_run_is_verified_by_the_program_at_hand() -> None:
    traces: Counter[str] = Counter()

    def loss_fn(params: Any, batch: Any) -> Any:
        traces[str(params["w"].dtype)] += 1
        if params["w"].dtype == jnp.float64:
            raise TypeError("only float32")
        return jnp.mean((batch @ params["w"]) ** 2)

    problem = Problem(loss_fn, {"w": jnp.ones((3, 1))}, np.ones((4, 3), np.float32))
    report = check_problem(problem, CheckOptions(verified=True), target="m.py")
    assert [check.dtype for check in report.gradients.leaves] == ["float32"]
    assert traces == {"float32": 1, "float64": 1}
