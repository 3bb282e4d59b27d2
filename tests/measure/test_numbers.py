"""The numbers of a measurement: precision, range, batches, zeros, and what is not finite."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.runs.check import check_loss
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, agreeing, apply, bumped_two, error, loss_of_two, normal, two_layers


def test_every_number_of_a_layer_is_that_of_numpy() -> None:
    found, slow = agreeing(loss_of_two, TWO, BATCH), oracle.deltas(bumped_two, TWO, BATCH)
    _, gradients = oracle.plain(loss_of_two, TWO, BATCH)
    z = BATCH[0] @ TWO["first"]["w"] + TWO["first"]["b"]
    first, both = oracle.layer(found, "first"), gradients[:2]
    assert first.size == 20
    assert first.weight_rms == pytest.approx(oracle.pooled_rms([TWO["first"]["w"]]), rel=1e-6), "no bias"
    assert first.gradient_rms == pytest.approx(oracle.pooled_rms(both[1:]), rel=1e-6), "of the same leaf"
    assert first.gradient_norm == pytest.approx(np.hypot(*map(oracle.norm, both)), rel=1e-6)
    assert first.gradient_max == pytest.approx(max(float(np.max(np.abs(g))) for g in both), rel=1e-6)
    assert first.activation_rms == pytest.approx(oracle.pooled_rms([z]), rel=1e-6)
    assert first.activation_max == pytest.approx(np.max(np.abs(z)), rel=1e-6)
    assert first.delta_rms == pytest.approx(oracle.pooled_rms([slow["first"]]), rel=1e-6)
    assert first.delta_max == pytest.approx(np.max(np.abs(slow["first"])), rel=1e-6)
    assert first.gradient_zero_share == 0
    assert first.gradient_nonfinite_share == 0


def test_the_weight_of_a_normalization_is_its_scale() -> None:
    def normalized(p: Any, b: Any) -> Any:
        h = apply(p["first"], b[0])
        h = (h - h.mean(-1, keepdims=True)) / (h.std(-1, keepdims=True) + 1e-5)
        return error(apply(p["second"], h * p["norm"]["scale"] + p["norm"]["bias"]), b[1])

    width = TWO["first"]["b"].shape
    norm = {"bias": np.zeros(width, np.float32), "scale": np.full(width, 0.5, np.float32)}
    found = oracle.layer(check_loss(normalized, TWO | {"norm": norm}, BATCH).flow, "norm")
    assert found.weight_rms == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scaling_the_loss_scales_delta_and_gradients_and_nothing_else(scale: float) -> None:
    found = agreeing(lambda p, b: scale * loss_of_two(p, b), TWO, BATCH)
    slow = oracle.deltas(bumped_two, TWO, BATCH)
    for layer in found.layers:
        assert layer.delta_norm == pytest.approx(scale * oracle.norm(slow[layer.name]), rel=1e-5)
    assert oracle.layer(found, "second").activation_rms == pytest.approx(
        oracle.pooled_rms([two_layers(TWO, BATCH[0])]), rel=1e-5
    )


def test_activations_of_any_size_keep_their_rms() -> None:
    found = agreeing(lambda p, b: jnp.mean(jnp.tanh(apply(p, b[0] * 1e30) * 1e-30)), TWO["first"], BATCH)
    expected = 1e30 * oracle.pooled_rms([BATCH[0] @ TWO["first"]["w"]])
    assert found.layers[0].activation_rms == pytest.approx(expected, rel=1e-5)


def test_in_float64_all_digits_count() -> None:
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), TWO)
        batch = tuple(np.asarray(part, np.float64) for part in BATCH)
        found = agreeing(lambda p, b: 1e-200 * loss_of_two(p, b), params, batch, rtol=1e-12)
        slow = oracle.deltas(bumped_two, params, batch)
    expected = 1e-200 * oracle.norm(slow["first"])
    assert oracle.layer(found, "first").delta_norm == pytest.approx(expected, rel=1e-12)
    assert {p.dtype for p in found.parameters} == {"float64"}


def test_float64_and_float32_live_in_one_program() -> None:
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), TWO["first"])
        found = agreeing(loss_of_two, {"first": wide, "second": TWO["second"]}, BATCH)
    assert [p.dtype for p in found.parameters] == ["float64"] * 2 + ["float32"] * 2


HALVES = {
    "bfloat16": lambda p, b: loss_of_two(p, (b[0].astype(jnp.bfloat16), b[1].astype(jnp.bfloat16))),
    "bfloat16 with a float32 loss": lambda p, b: error(
        two_layers(p, b[0].astype(jnp.bfloat16)).astype(jnp.float32), b[1]
    ),
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_bfloat16_is_summed_in_float32(half: Any) -> None:
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), TWO)
    assert {p.dtype for p in agreeing(half, params, BATCH).parameters} == {"bfloat16"}


def test_float16_is_summed_in_float32() -> None:
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float16), TWO)
    found = agreeing(
        lambda p, b: loss_of_two(p, (b[0].astype(jnp.float16), b[1].astype(jnp.float16))), params, BATCH
    )
    assert {p.dtype for p in found.parameters} == {"float16"}


def test_float32_weights_cast_to_bfloat16_stay_layers() -> None:
    def mixed(p: Any, b: Any) -> Any:
        half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (p, b[0]))
        return error(two_layers(*half).astype(jnp.float32), b[1])

    found = agreeing(mixed, TWO, BATCH)
    assert oracle.names(found) == ["first", "second"]
    assert [layer.activation for layer in found.layers] == ["tanh", None]


def test_a_complex_value_has_the_delta_of_its_modulus() -> None:
    params = {**TWO, "filter": {"re": normal(3, 3), "im": normal(4, 3)}}

    def spectral(p: Any, b: Any) -> Any:
        taps = p["filter"]["re"] + 1j * p["filter"]["im"]
        h = jnp.fft.irfft(jnp.fft.rfft(apply(p["first"], b[0])) * taps, n=4)
        return error(apply(p["second"], h), b[1])

    found = agreeing(spectral, params, BATCH)
    assert oracle.names(found) == ["first", "filter", "second"]
    z = np.fft.rfft(BATCH[0] @ TWO["first"]["w"] + TWO["first"]["b"])
    expected = oracle.pooled_rms([z * (params["filter"]["re"] + 1j * params["filter"]["im"])])
    assert oracle.layer(found, "filter").activation_rms == pytest.approx(expected, rel=1e-5)
