"""Exponents, the quadratic part and where it dominates; what cannot be cut is left out with the reason."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradscope
from gradscope.records import Cost, CostGrowth, Report
from gradscope.workload.growth import half_of, polynomial_through, slope
from tests.workload.programs import ones


def counted(loss: Any, params: Any, batch: Any) -> Report:
    return gradscope.cost(loss, params, batch, time=False)


def growth_of(report: Report, axis: str) -> CostGrowth | None:
    found: Cost | None = report.cost
    assert found is not None
    return next((growth for growth in found.growth if growth.axis == axis), None)


def reason(report: Report, what: str) -> str:
    return next((each.reason for each in report.skipped if each.what == what), "")


def test_polynomials_are_those_that_go_through_all_points() -> None:
    sizes = [8.0, 16.0, 24.0, 32.0]
    assert polynomial_through(sizes, [3 + 2 * n for n in sizes]) == pytest.approx((3, 2))
    assert polynomial_through(sizes, [5 + 2 * n + 7 * n * n for n in sizes]) == pytest.approx((5, 2, 7))
    assert polynomial_through(sizes, [n**1.5 for n in sizes]) == ()
    assert polynomial_through(sizes[:3], [n**2 for n in sizes[:3]]) == (), "three points tell no parabola"
    assert slope(sizes, [n**1.5 for n in sizes]) == pytest.approx(1.5)
    assert slope([8.0], [1.0]) is None


def test_half_is_where_the_square_is_as_much_as_the_rest() -> None:
    assert half_of((0.0, 100.0, 1.0)) == 100
    assert half_of((600.0, 50.0, 1.0)) == 60
    assert half_of((3.0, 2.0)) is None
    assert half_of((0.0, 1.0, -1.0)) is None


def test_a_network_is_linear_in_its_rows() -> None:
    report = counted(lambda p, x: jnp.mean(jnp.tanh(x @ p["w"])), {"w": ones(4, 8)}, ones(6, 4))
    growth = growth_of(report, "batch")
    assert growth is not None
    assert [point.size for point in growth.points] == [3, 6, 12]
    assert growth.exponent == pytest.approx(1.0, abs=0.02)
    assert len(growth.polynomial) == 2
    assert growth.half_at is None


def test_a_contrastive_loss_is_quadratic_in_its_rows() -> None:
    def loss(p: Any, x: Any) -> Any:
        h = x @ p["w"]
        return jnp.mean(jax.nn.logsumexp(h @ h.T, axis=-1))

    growth = growth_of(counted(loss, {"w": ones(4, 4)}, ones(64, 4)), "batch")
    assert growth is not None
    assert len(growth.polynomial) == 3
    assert (growth.quadratic_share or 0) > 0.5
    assert growth.half_at is not None
    assert growth.half_at < 64
    assert 1.5 < (growth.exponent or 0) < 2.05


def attention(p: Any, tokens: Any) -> Any:
    x = p["table"][tokens]
    weights = jax.nn.softmax((x @ p["q"]) @ jnp.swapaxes(x, 1, 2))
    return jnp.mean((weights @ x) ** 2)


PARAMS = {"table": ones(10, 32), "q": ones(32, 32)}
TOKENS = np.zeros((2, 16), np.int32)


def test_attention_is_quadratic_in_the_length_and_half_of_it_is_found_by_counting() -> None:
    growth = growth_of(counted(attention, PARAMS, TOKENS), "length")
    assert growth is not None
    assert growth.of == "axis 1 of batch"
    assert len(growth.polynomial) == 3
    assert growth.half_at is not None
    assert growth.half_at > 16 == max(point.size for point in growth.points), "counted there, and beyond"
    square, rest = growth.polynomial[2] * growth.half_at**2, growth.polynomial[1] * growth.half_at
    assert square >= rest > 0.9 * square


def test_labels_and_masks_are_cut_with_the_tokens() -> None:
    def loss(p: Any, batch: Any) -> Any:
        x = p["table"][batch["tokens"]]
        scores = jnp.where(batch["mask"], x @ jnp.swapaxes(x, 1, 2), -1e9)
        return jnp.mean((jax.nn.softmax(scores) @ x).sum(-1) * batch["labels"])

    batch = {"tokens": TOKENS, "mask": np.ones((2, 16, 16), bool), "labels": np.zeros((2, 16), np.int32)}
    growth = growth_of(counted(loss, PARAMS, batch), "length")
    assert growth is not None
    assert len(growth.points) >= 4


def test_a_loop_over_steps_is_a_length() -> None:
    def loss(p: Any, x: Any) -> Any:
        return jnp.mean(
            jax.lax.scan(lambda h, row: (jnp.tanh(h @ p["w"] + row), None), jnp.zeros((3, 4)), x)[0] ** 2
        )

    growth = growth_of(counted(loss, {"w": ones(4, 4)}, ones(12, 3, 4)), "length")
    assert growth is not None
    assert growth.at == 12
    assert len(growth.polynomial) == 2
    assert growth.exponent == pytest.approx(1.0, abs=0.05)


def test_images_have_no_length() -> None:
    def loss(p: Any, x: Any) -> Any:
        return jnp.mean(x.reshape(len(x), -1) @ p["w"])

    report = counted(loss, {"w": ones(8 * 8 * 3, 2)}, ones(4, 8, 8, 3))
    assert growth_of(report, "length") is None
    assert growth_of(report, "batch") is not None
    assert not reason(report, "growth with the length")


def test_rows_of_an_image_are_no_sequence_that_is_told_of() -> None:
    report = counted(lambda p, x: jnp.mean(x.reshape(len(x), -1) @ p["w"]), {"w": ones(64, 2)}, ones(4, 8, 8))
    assert growth_of(report, "length") is None
    assert not reason(report, "growth with the length")


def test_a_rule_that_is_written_for_one_batch_is_left_out_with_the_reason() -> None:
    @jax.custom_vjp
    def double(x: Any) -> Any:
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, ct: (2 * ct.reshape(6, 2),))
    report = counted(lambda p, x: jnp.mean(double(x @ p["w"])), {"w": ones(4, 2)}, ones(6, 4))
    assert growth_of(report, "batch") is None
    assert "cannot be traced with 3 in the place of 6" in reason(report, "growth with the batch")


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (ones(1, 4), "the batch has one row"),
        ((ones(3, 4), ones(5, 4)), "share no leading axis"),
    ],
)
def test_a_batch_that_cannot_be_cut_is_left_out_with_the_reason(batch: Any, said: str) -> None:
    report = counted(lambda p, x: jnp.mean(jax.tree.leaves(x)[0] @ p["w"]), {"w": ones(4, 2)}, batch)
    assert growth_of(report, "batch") is None
    assert said in reason(report, "growth with the batch")


def test_a_loss_that_closes_over_its_data_has_no_batch_to_cut() -> None:
    report = counted(lambda params: jnp.mean(ones(6, 4) @ params["w"]), {"w": ones(4, 2)}, None)
    assert "takes no batch of arrays" in reason(report, "growth with the batch")


def test_a_loss_that_is_written_for_one_batch_is_left_out_with_the_reason() -> None:
    def loss(p: Any, x: Any) -> Any:
        return jnp.mean((x @ p["w"]).reshape(6, 2))

    report = counted(loss, {"w": ones(4, 2)}, ones(6, 4))
    assert growth_of(report, "batch") is None
    assert "cannot be traced with 3 in the place of 6" in reason(report, "growth with the batch")
