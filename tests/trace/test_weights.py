"""What still is a weight: views, products and normalizations of leaves, and leaves that are used twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Connection
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, agreeing, apply, error, normal


def quantized(w: Any) -> Any:
    return w + lax.stop_gradient(jnp.round(w * 4) / 4 - w)


def spectral(w: Any) -> Any:
    u = jnp.ones(4)
    for _ in range(2):
        v = w.T @ u
        v = v / jnp.linalg.norm(v)
        u = w @ v
        u = u / jnp.linalg.norm(u)
    return w / (lax.stop_gradient(u) @ w @ lax.stop_gradient(v))


VIEWS: dict[str, Callable[[Any], Any]] = {
    "transposed twice and cast": lambda w: w.T.reshape(2, 8).astype(jnp.bfloat16).reshape(4, 4).T * 1.0,
    "masked by constants": lambda w: jnp.where(np.eye(4, dtype=bool), 0.0, w) * np.tri(4, dtype=np.float32),
    "quantized with a straight-through gradient": quantized,
    "normalized by column": lambda w: w / jnp.linalg.norm(w, axis=0),
    "normalized as a whole": lambda w: w / jnp.linalg.norm(w),
    "standardized": lambda w: (w - jnp.mean(w)) / (jnp.std(w) + 1e-5),
    "spectrally normalized": spectral,
    "behind an optimization barrier": lax.optimization_barrier,
    "inside a jit": jax.jit(lambda w: jnp.tanh(w) * 2),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_weight_stays_that_of_its_layer_when(view: Callable[[Any], Any]) -> None:
    def network(p: Any, b: Any, bump: Any) -> Any:
        z = bump("z", b[0] @ view(p["first"]["w"]) + p["first"]["b"])
        return error(apply(p["second"], jnp.tanh(z)), b[1])

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), TWO, BATCH)
    first = oracle.layer(found, "first")
    assert oracle.names(found) == ["first", "second"]
    assert (first.op, first.fan_in, first.depth, first.activation) == ("dot_general", 4, 1, "tanh")
    assert first.delta_norm == pytest.approx(oracle.norm(oracle.deltas(network, TWO, BATCH)["z"]), rel=1e-5)
    assert set(oracle.connections(found).values()) == {Connection.CONNECTED}


def test_weight_normalization_makes_one_layer_of_direction_gain_and_bias() -> None:
    params = {"first": {"v": normal(1, 4, 4), "g": normal(2, 4), "b": normal(3, 4)}, "second": TWO["second"]}

    def loss(p: Any, b: Any) -> Any:
        q = p["first"]
        w = q["g"] * q["v"] / jnp.linalg.norm(q["v"], axis=0)
        return error(apply(p["second"], jnp.tanh(b[0] @ w + q["b"])), b[1])

    found = agreeing(loss, params, BATCH)
    assert oracle.layer(found, "first").parameters == ("first.b", "first.g", "first.v")


def test_a_low_rank_update_of_a_weight_is_part_of_its_layer() -> None:
    lora = {"a": normal(4, 4, 2), "c": np.zeros((2, 4), np.float32)}
    params = {"first": {**TWO["first"], **lora}, "second": TWO["second"]}

    def loss(p: Any, b: Any) -> Any:
        q = p["first"]
        h = b[0] @ (lax.stop_gradient(q["w"]) + q["a"] @ q["c"]) + q["b"]
        return error(apply(p["second"], jnp.tanh(h)), b[1])

    found = agreeing(loss, params, BATCH)
    assert oracle.names(found) == ["first", "second"]
    assert oracle.parameter(found, "first.w").connection is Connection.BLOCKED
    assert [cut.on_parameter for cut in oracle.parameter(found, "first.w").cuts] == [True]
    assert oracle.parameter(found, "first.a").nonzero_after_steps is True
    assert oracle.parameter(found, "first.c").nonzero_after_steps is None


def test_an_embedding_tied_to_the_softmax_is_one_layer_used_twice() -> None:
    params = {"embed": {"table": normal(1, 11, 4)}, "hidden": TWO["first"]}
    tokens = np.arange(12).reshape(2, 6) % 11

    def network(p: Any, ids: Any, bump: Any) -> Any:
        h = bump("rows", p["embed"]["table"][ids])
        h = h + jnp.tanh(apply(p["hidden"], h))
        logits = jax.nn.log_softmax(bump("logits", h @ p["embed"]["table"].T))
        return -jnp.mean(jnp.take_along_axis(logits[:, :-1], ids[:, 1:, None], -1))

    found = agreeing(lambda p, ids: network(p, ids, oracle.unbumped), params, tokens)
    slow = oracle.deltas(network, params, tokens)
    embed = oracle.layer(found, "embed")
    assert (embed.uses, embed.op, embed.depth) == (2, "gather", 1)
    assert embed.delta_rms == pytest.approx(oracle.pooled_rms(list(slow.values())), rel=1e-5)


def test_a_layer_used_twice_pools_both_uses() -> None:
    def network(p: Any, b: Any, bump: Any) -> Any:
        h = jnp.tanh(bump("1", apply(p["first"], b[0])))
        return error(apply(p["second"], jnp.tanh(bump("2", apply(p["first"], h)))), b[1])

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), TWO, BATCH)
    slow = oracle.deltas(network, TWO, BATCH)
    first = oracle.layer(found, "first")
    assert (first.uses, first.depth, oracle.layer(found, "second").depth) == (2, 1, 3)
    assert first.delta_rms == pytest.approx(oracle.pooled_rms(list(slow.values())), rel=1e-5)


def test_the_sum_of_two_uses_of_a_layer_stays_two_uses() -> None:
    def loss(p: Any, b: Any) -> Any:
        return error(apply(p["second"], apply(p["first"], b[0]) + apply(p["first"], b[1])), b[1])

    first = oracle.layer(agreeing(loss, TWO, BATCH), "first")
    assert (first.uses, first.fan_in) == (2, 4)


def test_a_barrier_over_all_parameters_keeps_the_leaves_apart() -> None:
    def loss(p: Any, b: Any) -> Any:
        p = lax.optimization_barrier(p)
        return error(oracle.two_layers({"first": p["first"], "second": p["first"]}, b[0]), b[1])

    found = agreeing(loss, TWO, BATCH)
    assert oracle.parameter(found, "second.w").connection is Connection.DISCONNECTED
    assert oracle.layer(found, "first").uses == 2


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def scaled(factor: float, h: Any) -> Any:
    return h * factor


scaled.defvjp(lambda factor, h: (h * factor, None), lambda factor, _, ct: (ct * factor,))


@jax.custom_vjp
def custom_dense(w: Any, b: Any, h: Any) -> Any:
    return jnp.tanh(h @ w + b)


def _custom_backward(saved: Any, ct: Any) -> Any:
    return jax.vjp(lambda w, b, h: jnp.tanh(h @ w + b), *saved)[1](ct)


custom_dense.defvjp(lambda w, b, h: (custom_dense(w, b, h), (w, b, h)), _custom_backward)


@jax.custom_jvp
def sine_dense(w: Any, h: Any) -> Any:
    return jnp.sin(h @ w)


@sine_dense.defjvp
def _sine_dense_jvp(primals: Any, tangents: Any) -> Any:
    (w, h), (dw, dh) = primals, tangents
    return sine_dense(w, h), jnp.cos(h @ w) * (dh @ w + h @ dw)


def test_a_custom_rule_with_a_static_argument_keeps_weights_and_sites() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = scaled(2.0, b[0] @ scaled(3.0, p["first"]["w"]) + p["first"]["b"])
        return error(apply(p["second"], h), b[1])

    assert oracle.names(agreeing(loss, TWO, BATCH)) == ["first", "second"]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "inside",
    [lambda q, h: custom_dense(q["w"], q["b"], h), lambda q, h: sine_dense(q["w"], h) + q["b"]],
    ids=["custom_vjp", "custom_jvp"],
)
def test_a_layer_inside_a_custom_rule_is_tapped_at_its_result(inside: Callable[[Any, Any], Any]) -> None:
    def network(p: Any, b: Any, bump: Any) -> Any:
        return error(apply(p["second"], bump("h", inside(p["first"], b[0]))), b[1])

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), TWO, BATCH)
    slow = oracle.deltas(network, TWO, BATCH)
    assert oracle.names(found) == ["first", "second"]
    assert oracle.layer(found, "first").delta_norm == pytest.approx(oracle.norm(slow["h"]), rel=1e-5)
    assert found.unseen == ()


def test_a_penalty_over_all_parameters_moves_no_layer() -> None:
    params = {**TWO, "extra": {"w": normal(5, 3, 3)}}

    def loss(p: Any, b: Any) -> Any:
        penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p))
        return error(oracle.two_layers(p, b[0]), b[1]) + 1e-3 * penalty

    found = agreeing(loss, params, BATCH)
    assert oracle.names(found) == ["first", "second", "extra"]
    assert [layer.uses for layer in found.layers[:2]] == [1, 1]
    extra = oracle.layer(found, "extra")
    assert (extra.activation_rms, extra.delta_rms, extra.depth) == (None, None, None)
    assert oracle.parameter(found, "extra.w").connection is Connection.CONNECTED
    assert extra.gradient_norm == pytest.approx(2e-3 * oracle.norm(params["extra"]["w"]), rel=1e-5)


def test_a_normalization_that_scales_its_own_divisor_is_one_layer() -> None:
    """Flax and Haiku multiply the scale into `rsqrt(variance)`, and that into the data."""

    def loss(p: Any, b: Any) -> Any:
        h = apply(p["first"], b[0])
        factor = lax.rsqrt(h.var(-1, keepdims=True) + 1e-5) * p["norm"]["scale"]
        h = (h - h.mean(-1, keepdims=True)) * factor + p["norm"]["bias"]
        return error(apply(p["second"], jnp.tanh(h)), b[1])

    params = {**TWO, "norm": {"scale": jnp.ones(oracle.WIDTH), "bias": jnp.zeros(oracle.WIDTH)}}
    found = agreeing(loss, params, BATCH)
    assert oracle.names(found) == ["first", "norm", "second"]
    assert oracle.layer(found, "norm").activation_rms == pytest.approx(1.0, abs=1e-2)
