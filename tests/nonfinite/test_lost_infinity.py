"""An infinity that is divided away is named at its line; one beside another reason is not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Cause, Report, Severity
from gradscope.runs.check import check_loss
from tests.nonfinite.finding import Loss, is_finite, marked_line

W = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)


def halves(weights: Any = 60 * W) -> dict[str, Any]:
    return {"w": jnp.asarray(weights, jnp.float16)}


BATCH = jnp.asarray(4 * X, jnp.float16)


def norm(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    z = h / jnp.linalg.norm(h, axis=-1, keepdims=True)  # here
    return jnp.mean((z - 1).astype(jnp.float32) ** 2)


def root_mean_square(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    z = h * lax.rsqrt(jnp.mean(h * h, axis=-1, keepdims=True))  # here
    return jnp.mean((z - 1).astype(jnp.float32) ** 2)


def inverse_power(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    size = jnp.sum(h * h, axis=-1, keepdims=True)  # here
    return jnp.mean((h * size**-0.5 - 1).astype(jnp.float32) ** 2)


def in_scan(p: Any, b: Any) -> Any:
    def step(total: Any, row: Any) -> Any:
        h = row @ p["w"]
        return total + h / jnp.linalg.norm(h), None  # here

    total, _ = lax.scan(step, jnp.zeros(8, b.dtype), b)
    return jnp.mean((total - 1).astype(jnp.float32) ** 2)


@jax.checkpoint
def unit(v: Any) -> Any:
    return v / jnp.sqrt(jnp.sum(jnp.square(v)))  # here


def mapped(p: Any, b: Any) -> Any:
    def one(row: Any) -> Any:
        return lax.cond(row[0] > -100, jax.jit(unit), lambda v: v, row @ p["w"])

    return jnp.mean((jax.vmap(one)(b) - 1).astype(jnp.float32) ** 2)


def of(report: Report) -> tuple[str, ...]:
    return tuple(finding.rule for finding in report.findings)


@pytest.mark.parametrize(
    ("loss", "marked"),
    [
        (norm, norm),
        (root_mean_square, root_mean_square),
        (inverse_power, inverse_power),
        (in_scan, in_scan),
        (mapped, unit.__wrapped__),
    ],
)
def test_it_is_the_one_error_at_the_line_of_the_norm(loss: Loss, marked: Any) -> None:
    report = check_loss(loss, halves(), BATCH)
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("non-finite", Severity.ERROR)
    assert finding.source is not None
    assert finding.source.line == marked_line(marked)
    assert "an infinity that is divided away" in finding.message
    assert "the gradient of 1 parameter is exactly zero: `w`" in finding.message
    assert finding.evidence["cause"] == Cause.HALF_PRECISION.value
    assert "float32" in finding.remedy


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_wider_dtypes_overflow_too(dtype: str) -> None:
    params, batch = {"w": jnp.asarray(W, dtype)}, jnp.asarray(1e20 * X, dtype)
    (finding,) = check_loss(norm, params, batch).findings
    assert finding.source is not None
    assert finding.source.line == marked_line(norm)
    assert f"the largest finite {dtype}" in finding.message
    assert "x / m" in finding.remedy


def test_every_layer_below_is_told_and_the_table_marks_one() -> None:
    def loss(p: Any, b: Any) -> Any:
        return norm(p["last"], b @ p["first"])

    report = check_loss(loss, {"first": halves(W)["w"], "last": halves()}, BATCH)
    (finding,) = [each for each in report.findings if each.rule != "linear-network"]
    assert finding.layer == "last"
    assert "`first` and `last.w`" in finding.message


def test_it_is_quiet_where_the_norm_fits() -> None:
    assert of(check_loss(norm, halves(W), BATCH)) == ()


def dead_and_masked(p: Any, b: Any) -> Any:
    h = jax.nn.relu(b @ p["w"] - 1e4)
    scores = jnp.where(np.tril(np.ones((5, 5), bool)), h @ h.T, -jnp.inf)
    return jnp.mean((jax.nn.softmax(scores) @ h + b).astype(jnp.float32) ** 2)


def far_kernel(p: Any, b: Any) -> Any:
    """exp(-d²) is 0 in every precision, and so is its gradient."""
    distance = jnp.sum(jnp.square(b @ p["w"] - 300), axis=-1)
    return jnp.mean(jnp.exp(-distance)).astype(jnp.float32)


def dead_beside_a_lost_infinity(p: Any, b: Any) -> Any:
    size = jnp.sum(jnp.square(300 * b), axis=-1, keepdims=True)
    h = jax.nn.relu(b @ p["w"] - 1e4)
    return jnp.mean((h + b / size).astype(jnp.float32) ** 2)


@pytest.mark.parametrize("loss", [dead_and_masked, far_kernel, dead_beside_a_lost_infinity])
def test_a_gradient_that_is_zero_for_another_reason_is_told_as_such(loss: Loss) -> None:
    assert is_finite(loss, halves(W), BATCH)
    assert of(check_loss(loss, halves(W), BATCH)) == ("zero-gradient",)


def test_a_mistake_of_ours_is_listed_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ValueError("broken")

    monkeypatch.setattr("gradscope.nonfinite.lost_infinity._find", fails)
    report = check_loss(norm, halves(), BATCH)
    assert of(report) == ("zero-gradient",)
    assert any("failed in gradscope: ValueError: broken" in entry.reason for entry in report.skipped)
