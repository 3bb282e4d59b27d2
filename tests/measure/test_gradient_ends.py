"""Where the gradient ends, in programs whose layers get none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.measure.cleared import Cleared
from gradscope.measure.gradient_ends import gradient_ends
from gradscope.records import GradientEnd, Severity
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer
from tests.trace.oracle import normal

X = normal(0, 32, 5)
PARAMS = {"w": normal(1, 5, 8), "v": normal(2, 8, 4)}
Head = Callable[[Any], Any]


def loss_of(head: Head) -> Callable[[Any, Any], Any]:
    return lambda p, x: jnp.mean((head(jnp.tanh(x @ p["w"]) @ p["v"]) - 1.0) ** 2)


def dark(z: Any) -> Any:
    """One channel says how much there is of the others: nothing."""
    return jax.nn.sigmoid(z[:, :3]) * jax.nn.relu(z[:, 3:] - 100.0)


HEADS: dict[str, tuple[Head, str]] = {
    "a part in a ReLU": (dark, "relu"),
    "in jit": (jax.jit(dark), "relu"),
    "row by row": (jax.vmap(lambda row: dark(row[None])[0]), "relu"),
    "a clip": (lambda z: 2 * jnp.clip(z - 100.0, 0.0, 1.0), "min"),
    "a choice": (lambda z: jnp.where(z > 1e6, z, 0.0), "select_n"),
}


def ends(head: Head) -> list[GradientEnd]:
    tracer = Tracer(Problem(loss_of(head), PARAMS, X))
    program, inputs = tracer.trace(X), tracer.inputs(X)
    return list(gradient_ends(program, ["w", "v"], inputs, Cleared(program, inputs, X)))


@pytest.mark.parametrize("name", HEADS)
def test_the_operation_that_passes_nothing_back_is_found(name: str) -> None:
    head, function = HEADS[name]
    first = ends(head)[0]
    assert first.layer == "v"
    assert first.function in (function, "max", "clip")
    assert first.source is not None
    assert first.source.file.endswith("test_gradient_ends.py")


def test_nothing_ends_where_all_layers_learn() -> None:
    assert ends(jax.nn.sigmoid) == []
    assert ends(lambda z: jax.nn.relu(z) * z) == []


def test_the_report_names_it() -> None:
    report = check_loss(loss_of(dark), PARAMS, X)
    (finding,) = [each for each in report.findings if each.rule == "zero-gradient"]
    assert (finding.severity, finding.layer) == (Severity.ERROR, "v")
    assert "the gradient ends in the `relu` at" in finding.message
    assert finding.remedy.startswith("Start where some of what goes into it is positive")
    assert finding.source is not None
    assert np.isclose(report.flow.loss, 1.0)  # type: ignore[union-attr]
