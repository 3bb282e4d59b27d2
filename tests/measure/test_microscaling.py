"""MXFP8 against the same by NumPy, element by element, and products of it written by hand."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

from gradscope.measure.microscaling import multiplied, rounded_in_blocks as in_blocks
from gradscope.trace import jaxprs
from tests.measure.test_precision import PARAMS, X, Y, cosine, looked_at, loss

RNG = np.random.default_rng(3)


def block_by_hand(values: Any) -> Any:
    """The specification's section 6.3, one number at a time."""
    top = max(abs(float(each)) for each in values)
    if not math.isfinite(top):
        return [math.nan] * len(values)
    if top == 0:
        return [0.0] * len(values)
    shared = min(max(math.floor(math.log2(top)) - 8, -127), 127)
    found = []
    for each in values:
        scaled = max(-448.0, min(448.0, math.ldexp(float(each), -shared)))
        found.append(math.ldexp(float(np.asarray(scaled).astype(ml_dtypes.float8_e4m3fn)), shared))
    return found


def rows_by_hand(matrix: Any) -> Any:
    """Blocks along the last axis."""
    rows = [
        [each for low in range(0, len(row), 32) for each in block_by_hand(row[low : low + 32])]
        for row in matrix
    ]
    return np.asarray(rows, np.float32)


def columns_by_hand(matrix: Any) -> Any:
    return rows_by_hand(np.asarray(matrix).T).T


@pytest.mark.parametrize("length", [1, 31, 32, 70])
def test_blocks_are_rounded_as_the_specification_says(length: int) -> None:
    sizes = np.exp2(RNG.uniform(-20, 20, size=(40, length)))
    values = (RNG.normal(size=(40, length)) * sizes).astype(np.float32)
    found = in_blocks(jnp.asarray(values), (1,))
    np.testing.assert_array_equal(found, rows_by_hand(values))
    across = in_blocks(jnp.asarray(values.T), (0,))
    np.testing.assert_array_equal(across, rows_by_hand(values).T)


def test_the_largest_is_clamped_and_ties_go_to_even() -> None:
    block = np.zeros(32, np.float32)
    block[:5] = [511.0, -511.0, 17.0, 19.0, 2.0**-10]
    found = np.asarray(in_blocks(jnp.asarray(block), (0,)))
    assert found[:5].tolist() == [448.0, -448.0, 16.0, 20.0, 0.0]
    tiny = np.asarray(in_blocks(jnp.asarray(block * np.float32(2.0**-100)), (0,)))
    assert (tiny == found * np.float32(2.0**-100)).all()


def test_a_scale_that_is_rounded_up_clamps_nothing() -> None:
    sizes = np.exp2(RNG.uniform(-20, 20, size=(200, 1)))
    values = (RNG.normal(size=(200, 32)) * sizes).astype(np.float32)
    found = np.asarray(in_blocks(jnp.asarray(values), (1,), up=True))
    top = np.abs(values).max(1, keepdims=True)
    scale = np.exp2(np.ceil(np.log2(top / 448.0)))
    expected = (values / scale).astype(np.float32).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale
    np.testing.assert_array_equal(found, expected)
    exact = in_blocks(jnp.asarray([448.0, 449.0]).reshape(2, 1), (1,), up=True)
    assert np.ravel(exact).tolist() == [448.0, 448.0]


def test_zeros_stay_and_what_is_not_finite_takes_its_block_with_it() -> None:
    values = np.zeros((3, 64), np.float32)
    values[1, 3], values[1, 40] = np.inf, 2.0
    found = np.asarray(in_blocks(jnp.asarray(values), (1,)))
    assert not found[[0, 2]].any()
    assert np.isnan(found[1, :32]).all()
    assert found[1, 40] == 2


def test_several_axes_are_one() -> None:
    values = RNG.normal(size=(5, 4, 12)).astype(np.float32)
    found = in_blocks(jnp.asarray(values), (1, 2))
    np.testing.assert_array_equal(found, rows_by_hand(values.reshape(5, 48)).reshape(5, 4, 12))


def test_each_product_of_a_layer_has_its_blocks_along_what_it_adds_up() -> None:
    left, right = (RNG.normal(size=shape).astype(np.float32) for shape in ((40, 50), (50, 36)))
    out = RNG.normal(size=(40, 36)).astype(np.float32)
    (eqn,) = jax.make_jaxpr(jnp.matmul)(left, right).eqns[-1:]
    found, pull = jax.vjp(lambda a, b: multiplied(eqn, a, b), left, right)
    to_left, to_right = pull(jnp.asarray(out))
    close = {"rtol": 1e-5, "atol": 1e-4}
    np.testing.assert_allclose(found, rows_by_hand(left) @ columns_by_hand(right), **close)
    np.testing.assert_allclose(to_left, rows_by_hand(out) @ rows_by_hand(right).T, **close)
    np.testing.assert_allclose(to_right, columns_by_hand(left).T @ columns_by_hand(out), **close)


def test_a_convolution_of_one_place_is_a_product_of_matrices() -> None:
    x, kernel = RNG.normal(size=(2, 3, 3, 40)).astype(np.float32), RNG.normal(size=(1, 1, 40, 8))
    kernel = kernel.astype(np.float32)

    def conv(x: Any, kernel: Any) -> Any:
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=numbers)

    (one,) = jax.make_jaxpr(conv)(x, kernel).eqns
    (other,) = jax.make_jaxpr(jnp.matmul)(x.reshape(18, 40), kernel[0, 0]).eqns[-1:]
    found, pull = jax.vjp(lambda a, b: multiplied(one, a, b), x, kernel)
    expected, pull_expected = jax.vjp(lambda a, b: multiplied(other, a, b), x.reshape(18, 40), kernel[0, 0])
    np.testing.assert_allclose(found.reshape(18, 8), expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(pull(found), pull_expected(expected), strict=True):
        np.testing.assert_allclose(np.ravel(ours), np.ravel(theirs), rtol=1e-5, atol=1e-4)


def test_axes_of_a_batched_product() -> None:
    (eqn,) = jax.make_jaxpr(lambda a, b: jnp.einsum("bthk,bshk->bhts", a, b))(
        jnp.ones((2, 3, 4, 5)), jnp.ones((2, 6, 4, 5))
    ).eqns[-1:]
    shape = tuple(var.aval.shape for var in eqn.invars)
    axes = jaxprs.summed_axes(eqn)
    assert [shape[side][axis] for side in (0, 1) for axis in axes.forward[side]] == [5, 5]
    assert [eqn.outvars[0].aval.shape[axis] for axis in axes.to_left[0]] == [  # type: ignore[attr-defined]
        shape[1][axis] for axis in axes.to_left[1]
    ]


def test_a_program_is_what_its_products_by_hand_and_bfloat16_elsewhere_give() -> None:
    def r(value: Any) -> Any:
        return np.asarray(value, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)

    x, y = r(X), r(Y)
    a, b = r(PARAMS["a"]), r(PARAMS["b"])
    h = r(np.tanh(r(rows_by_hand(x) @ columns_by_hand(a))))
    error = r(r(rows_by_hand(h) @ columns_by_hand(b)) - y)
    value = r(r(np.sum(r(error**2), dtype=np.float32)) / np.float32(32))
    d_error = r(r(np.float32(1) / np.float32(32)) * r(2 * error))
    d_b = r(columns_by_hand(h).T @ columns_by_hand(d_error))
    d_h = r(rows_by_hand(d_error) @ rows_by_hand(b).T)
    d_z = r(d_h * (1 - h * h))
    d_a = r(columns_by_hand(x).T @ columns_by_hand(d_z))
    found, _ = looked_at(loss, "mxfp8")
    assert found.rounded_loss == pytest.approx(float(value), rel=0.01)
    exact = jax.grad(loss)(PARAMS, (X, Y))
    assert found.cosine == pytest.approx(cosine(exact, {"a": d_a, "b": d_b}), abs=2e-4)
    assert found.cosine is not None
    assert 0.9 < found.cosine < 0.99999


def test_a_scale_of_the_loss_does_not_matter() -> None:
    found, report = looked_at(loss, "mxfp8")
    tiny, _ = looked_at(lambda p, b: loss(p, b, 2.0**-20), "mxfp8")
    assert tiny.cosine == pytest.approx(found.cosine, abs=1e-6)
    assert found.layers[0].delta_underflow is None
    assert found.scale is None
    assert found.cosine_up is not None
    assert all(each.cosine_up is not None for each in found.layers)
    assert report.findings == ()
