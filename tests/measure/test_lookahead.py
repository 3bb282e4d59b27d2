"""Gradients of exactly zero: by construction, or for good."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Severity
from gradscope.runs.check import check_loss
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, agreeing, apply, error, normal

ZEROS: dict[str, Any] = {
    "head": lambda p, b: error(apply(p["second"], jnp.tanh(apply(p["first"], b[0]))), b[1]),
    "gain on a branch": lambda p, b: error(b[0] + p["second"]["b"] * jnp.tanh(apply(p["first"], b[0])), b[1]),
    "gain below a zero head": lambda p, b: error(
        (b[0] + p["second"]["b"] * apply(p["first"], b[0])) @ p["second"]["w"], b[1]
    ),
}


@pytest.mark.parametrize("zeroed", ZEROS.values(), ids=ZEROS)
def test_what_lies_below_a_zero_is_alive_later(zeroed: Any) -> None:
    params = {"first": TWO["first"], "second": jax.tree.map(np.zeros_like, TWO["second"])}
    found = agreeing(zeroed, params, BATCH)
    assert oracle.layer(found, "first").gradient_norm == 0
    assert oracle.layer(found, "first").gradient_zero_share == 1
    assert oracle.parameter(found, "first.w").nonzero_after_steps is True
    assert oracle.parameter(found, "first.b").nonzero_after_steps is True
    assert not [f for f in check_loss(zeroed, params, BATCH).findings if f.rule == "zero-gradient"]


def test_dead_units_stay_dead() -> None:
    def dead(p: Any, b: Any) -> Any:
        return error(apply(p["second"], jax.nn.relu(apply(p["first"], b[0]) - 100)), b[1])

    found = agreeing(dead, TWO, BATCH)
    assert oracle.parameter(found, "first.w").nonzero_after_steps is False
    assert oracle.parameter(found, "second.b").nonzero_after_steps is None
    assert [f.layer for f in check_loss(dead, TWO, BATCH).findings] == ["first"]


def stack(*biases: float) -> Any:
    blocks = {
        "w": normal(3, len(biases), 4, 4, scale=0.5),
        "b": np.array(biases, np.float32)[:, None] + np.zeros((1, 4), np.float32),
    }
    return {"blocks": blocks, "head": TWO["second"]}


def residual(p: Any, b: Any) -> Any:
    h = lax.scan(lambda h, q: (h + jax.nn.relu(apply(q, h)), None), b[0], p["blocks"])[0]
    return error(apply(p["head"], h), b[1])


def test_one_dead_layer_of_a_stack_is_found_at_its_row() -> None:
    report = check_loss(residual, stack(0.0, -100.0, 0.0), BATCH)
    rows = {layer.name: layer.nonzero_after_steps for layer in report.flow.layers}
    assert rows == {"blocks[0]": None, "blocks[1]": False, "blocks[2]": None, "head": None}
    assert [p.nonzero_after_steps for p in report.flow.parameters] == [None] * 4
    (found,) = report.findings
    assert (found.rule, found.layer, found.severity) == ("zero-gradient", "blocks[1]", Severity.ERROR)
    assert "The gradient of `blocks[1]` is exactly zero" in found.message
    assert found.source is not None


def test_a_stack_that_is_dead_as_a_whole_is_one_finding() -> None:
    report = check_loss(residual, stack(-100.0, -100.0, -100.0), BATCH)
    (found,) = report.findings
    assert (found.rule, found.evidence["layers"]) == ("zero-gradient", 3)


def test_rows_below_a_zero_gain_of_their_own_are_alive_later() -> None:
    def gained(p: Any, b: Any) -> Any:
        step = lambda h, q: (h + q["gain"] * jnp.tanh(apply(q, h)), None)  # noqa: E731
        h = lax.scan(step, b[0], {**p["blocks"], "gain": p["gain"]})[0]
        return error(apply(p["head"], h), b[1])

    params = {**stack(0.0, 0.1, 0.2), "gain": np.array([[1.0], [0.0], [1.0]], np.float32)}
    report = check_loss(gained, params, BATCH)
    rows = {layer.name: layer.nonzero_after_steps for layer in report.flow.layers}
    assert rows["blocks[1]"] is True
    assert not report.findings


def test_an_expert_that_no_example_is_routed_to_is_a_note() -> None:
    def loss(p: Any, b: Any) -> Any:
        experts = p["experts"]
        h = jnp.tanh(jnp.einsum("bd,edf->bef", b[0], experts["in"]))
        out = jnp.einsum("bef,efd->bed", h, experts["out"])
        return error(jnp.sum(out * jnp.array([0.5, 0.5, 0.0])[:, None], 1), b[1])

    params = {"experts": {"in": normal(1, 3, 4, 8), "out": normal(2, 3, 8, 4)}}
    found = check_loss(loss, params, BATCH).findings
    assert {(f.rule, f.severity) for f in found} == {("zero-gradient", Severity.NOTE)}
    assert {f.layer for f in found} <= {"experts[2].in", "experts[2].out"}


def test_the_share_of_zero_gradients_counts_elements() -> None:
    table = {"table": normal(1, 10, 4), "head": TWO["first"]}
    ids = np.array([1, 1, 2, 3, 3, 3, 1, 2])

    def embedded(p: Any, b: Any) -> Any:
        return error(apply(p["head"], p["table"][b[0]]), b[1])

    found = agreeing(embedded, table, (ids, BATCH[1]))
    assert oracle.layer(found, "table").gradient_zero_share == pytest.approx(0.7)


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32])
def test_a_dead_network_is_dead_in_every_dtype(dtype: Any) -> None:
    """Adam's epsilon is zero in float16: a step of 0 / 0 is no sign of life."""

    def dead(p: Any, b: Any) -> Any:
        hidden = jax.nn.relu(apply(p["first"], b[0]) - jnp.asarray(100, dtype))
        return jnp.mean(jnp.square(hidden @ p["second"]["w"] - b[1]).astype(np.float32))

    params, batch = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (TWO, BATCH))
    found = check_loss(dead, params, batch).flow
    assert oracle.parameter(found, "first.w").nonzero_after_steps is False


def message_of(loss: Any, params: Any, batch: Any) -> tuple[str, str]:
    report = check_loss(loss, params, batch, select="zero-gradient")
    (finding,) = report.findings
    return finding.message, finding.remedy


def test_uses_that_cancel_are_told_from_an_input_of_zeros() -> None:
    def logits(p: Any, x: Any) -> Any:
        return jax.nn.log_softmax(apply(p["second"], jnp.tanh(apply(p["first"], x))))

    def ratio(p: Any, b: Any) -> Any:
        return jnp.mean(jnp.exp(logits(p, b[0]) - logits(p, b[0])) * b[1][:, :1])

    message, remedy = message_of(ratio, TWO, BATCH)
    assert "over its 2 uses" in message
    assert "stop_gradient" in remedy
    assert "every value" not in message


def test_an_input_that_is_zero_where_delta_is_not_is_a_possibility() -> None:
    def disjoint(p: Any, b: Any) -> Any:
        keep = (jnp.arange(b[0].shape[0]) < 4)[:, None]
        return jnp.sum(~keep * jnp.square(jnp.where(keep, b[0], 0) @ p["w"] - 1.0))

    message, remedy = message_of(disjoint, {"w": TWO["first"]["w"]}, BATCH)
    assert "zero in every row in which δ is not" in message
    assert "mask" in remedy


@pytest.mark.parametrize(
    ("bias", "scale", "says", "not_says"),
    [
        (-100.0, None, "Start `first.b` at 0, or use", "he_normal"),
        (-100.0, 0.01, "he_normal", "every value"),
    ],
)
def test_the_remedy_for_dead_units_names_what_is_not_as_it_should_be(
    bias: float, scale: float | None, says: str, not_says: str
) -> None:
    w = normal(1, 4, 8, scale=scale or (2 / 4) ** 0.5)
    params = {"first": {"w": w, "b": np.full(8, bias, np.float32)}, "head": normal(2, 8, 1)}

    def dead(p: Any, b: Any) -> Any:
        return jnp.mean(jnp.square(jax.nn.relu(apply(p["first"], b[0])) @ p["head"] - 1))

    _, remedy = message_of(dead, params, BATCH)
    assert says in remedy
    assert not_says not in remedy
