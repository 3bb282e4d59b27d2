"""What is meant, or reaches nothing, is no origin; and an origin beside it is still the right one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.nonfinite.find import FINITE
from gradscope.records import Cause, Skipped
from gradscope.runs.check import check_loss
from tests.nonfinite.finding import PARAMS, Loss, X, is_finite, looked_for, marked_line, origin_of

MISSING = X.copy()
MISSING[1, 2] = np.nan
CAUSAL = np.tril(np.ones((5, 5), bool))


def attention(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    scores = jnp.where(CAUSAL, h @ h.T, -jnp.inf)
    return (jax.nn.softmax(scores) @ h).sum()


def missing_filled(p: Any, b: Any) -> Any:
    return (jnp.nan_to_num(b) @ p["w"]).sum()


def missing_masked(p: Any, b: Any) -> Any:
    return jnp.where(jnp.isnan(b), 0.0, b @ p["w"] @ jnp.ones((3, 4))).sum() * 0 + p["w"].sum()


def unread_branch(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    unread = jnp.log(lax.stop_gradient(-(h**2)) - 1.0)
    return jnp.where(jnp.isnan(unread), h, 0.0).sum()


def running_minimum(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    best, _ = lax.scan(lambda m, x: (jnp.minimum(m, x), None), jnp.full(3, jnp.inf), h)
    return best.sum()


def log_space_recursion(p: Any, b: Any) -> Any:
    """As in CTC and hidden Markov models: most states are impossible at first."""
    h = jax.nn.log_softmax(b @ p["w"])
    start = jnp.array([0.0, -1e30, -1e30])
    end, _ = lax.scan(lambda a, x: (jnp.logaddexp(a, jnp.roll(a, 1)) + x, None), start, h)
    return -jax.nn.logsumexp(end)


def maximum_of_masked(p: Any, b: Any) -> Any:
    return jnp.max(jnp.where(b @ p["w"] > 0, b @ p["w"], -jnp.inf))


HEALTHY = [attention, missing_filled, unread_branch, running_minimum, log_space_recursion, maximum_of_masked]


@pytest.mark.parametrize("loss", HEALTHY)
def test_what_is_meant_is_no_finding(loss: Loss) -> None:
    batch = MISSING if loss is missing_filled else X
    assert is_finite(loss, batch=batch)
    report = check_loss(loss, PARAMS, batch)
    assert report.flow.origin is None
    assert not [finding for finding in report.findings if finding.severity == "error"]
    found = looked_for(loss, batch=batch)
    assert isinstance(found, Skipped)
    assert found.reason == FINITE


@pytest.mark.parametrize("loss", HEALTHY)
def test_beside_what_is_meant_the_true_origin_is_named(loss: Loss) -> None:
    batch = MISSING if loss is missing_filled else X

    def sick(p: Any, b: Any) -> Any:
        root = jnp.sqrt((p["w"] - p["w"]) ** 2)  # here
        return loss(p, b) + root.sum() + loss(p, b)

    found = origin_of(sick, batch=batch)
    assert found.cause is Cause.ROOT_AT_ZERO
    assert found.source is not None
    assert found.source.line == marked_line(sick)


def test_a_mask_in_the_same_value_does_not_hide_the_origin() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = jnp.log(b @ p["w"])  # here
        return jax.nn.softmax(jnp.where(jnp.arange(3) > 0, h, -jnp.inf)).sum()

    found = origin_of(loss)
    assert (found.cause, found.op) == (Cause.LOG_OF_NEGATIVE, "log")
    assert found.source is not None
    assert found.source.line == marked_line(loss)


def test_a_nan_in_the_batch_is_named_with_its_leaf() -> None:
    found = origin_of(lambda p, b: (b["x"] @ p["w"]).sum(), batch={"x": MISSING, "y": X})
    assert (found.op, found.cause, found.elements, found.size) == ("batch.x", Cause.BATCH, 1, 20)


def test_a_nan_in_a_parameter_is_named_with_its_leaf() -> None:
    w = np.ones((4, 3), np.float32)
    w[0] = np.inf
    found = origin_of(lambda p, b: (b @ p["w"]).sum(), {"w": w})
    assert (found.op, found.cause, found.elements, found.size) == ("w", Cause.PARAMETER, 3, 12)


def test_missing_data_that_is_masked_is_not_blamed_for_another_operation() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = jnp.nan_to_num(b) @ p["w"]
        return jnp.log(-(h**2)).sum()  # here

    found = origin_of(loss, batch=MISSING)
    assert found.cause is Cause.LOG_OF_NEGATIVE
    assert found.source is not None
    assert found.source.line == marked_line(loss)


def test_a_mask_in_the_batch_is_not_blamed_for_a_row_without_anything() -> None:
    mask = np.zeros((5, 3), np.float32)
    mask[2] = -np.inf
    found = origin_of(lambda p, b: (jax.nn.softmax(b[0] @ p["w"] + b[1]) ** 2).sum(), batch=(X, mask))
    assert (found.cause, found.op) == (Cause.MASKED_ROW, "sub")


def test_of_two_origins_the_first_is_named() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = b @ p["w"]
        first = jnp.log(-1.0 - h * h)  # here
        return (first + jnp.sqrt(-1.0 - first * first)).sum() + jnp.log(-1.0 - h * h).sum()

    found = origin_of(loss)
    assert found.source is not None
    assert found.source.line == marked_line(loss)


def test_what_the_user_prints_is_not_printed_again(capfd: pytest.CaptureFixture[str]) -> None:
    def loss(p: Any, b: Any) -> Any:
        h = b @ p["w"]
        jax.debug.print("seen {}", h[0, 0])
        return jnp.log(-1.0 - h * h).sum()

    assert origin_of(loss).op == "log"
    assert "seen" not in capfd.readouterr().out


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_origin_does_not_move_with_the_scale_of_the_loss(scale: float) -> None:
    def loss(p: Any, b: Any) -> Any:
        h = b @ p["w"]
        return scale * jnp.linalg.norm(h - h)  # here

    found = origin_of(loss)
    assert (found.cause, found.derivative_of) == (Cause.NORM_AT_ZERO, "sqrt")
    assert found.source is not None
    assert found.source.line == marked_line(loss)


def test_what_cannot_be_run_step_by_step_is_said_and_not_raised() -> None:
    def fails(*_: Any) -> Any:
        raise ValueError("on the second call")

    def loss(p: Any, b: Any) -> Any:
        shape = jax.ShapeDtypeStruct((), np.float32)
        return (b @ p["w"]).sum() * jax.pure_callback(fails, shape, b)

    found = looked_for(loss)
    assert isinstance(found, Skipped)
    assert "raised" in found.reason


def test_an_operation_that_takes_a_key_is_named() -> None:
    """A key is no number: it is left out of the operands."""

    def loss(p: Any, b: Any) -> Any:
        del b
        return jnp.sum(jnp.sqrt(jax.random.gamma(jax.random.key(0), p["alpha"])))

    params = {"alpha": np.full(4, 0.01, np.float32)}
    assert not is_finite(loss, params)
    found = looked_for(loss, params)
    assert not isinstance(found, Skipped), found
