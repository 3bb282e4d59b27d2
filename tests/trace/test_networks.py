"""Networks as people write them: the rows that their authors expect, in the order of the forward pass."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.records import Connection, Severity
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, agreeing, apply, dense, error, normal, two_layers


def test_attention_with_heads_has_a_row_for_each_projection() -> None:
    heads = {"kernel": normal(1, 4, 2, 2), "bias": normal(2, 2, 2)}
    params = {"q": heads, "k": heads, "v": heads, "o": {"kernel": normal(3, 2, 2, 4), "bias": normal(4, 4)}}
    x = normal(5, 2, 6, 4)
    mask = np.tril(np.ones((6, 6), bool))

    def project(p: Any, h: Any) -> Any:
        return jnp.einsum("btd,dhk->bthk", h, p["kernel"]) + p["bias"]

    def network(p: Any, x: Any, bump: Any) -> Any:
        q, k, v = (bump(name, project(p[name], x)) for name in "qkv")
        scores = jnp.where(mask, jnp.einsum("bqhk,bthk->bhqt", q, k) / 2**0.5, -1e30)
        mixed = jnp.einsum("bhqt,bthk->bqhk", jax.nn.softmax(scores), v)
        out = jnp.einsum("bqhk,hkd->bqd", mixed, p["o"]["kernel"]) + p["o"]["bias"]
        return error(bump("o", out), x)

    found = agreeing(lambda p, x: network(p, x, oracle.unbumped), params, x)
    slow = oracle.deltas(network, params, x)
    assert sorted(oracle.names(found)) == ["k", "o", "q", "v"]
    for name in "qkvo":
        layer = oracle.layer(found, name)
        assert layer.parameters == (f"{name}.bias", f"{name}.kernel")
        assert layer.depth == (2 if name == "o" else 1)
        assert layer.delta_norm == pytest.approx(oracle.norm(slow[name]), rel=1e-5)


def test_a_convolution_with_batch_norm_keeps_both_as_layers() -> None:
    params = {
        "conv": {"kernel": normal(1, 3, 3, 1, 4), "bias": normal(2, 4)},
        "norm": {"scale": np.ones(4, np.float32), "bias": np.zeros(4, np.float32)},
        "head": dense(3, 4, 4),
    }
    batch = (normal(4, 8, 5, 5, 1), BATCH[1])

    def network(p: Any, b: Any, bump: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        h = lax.conv_general_dilated(b[0], p["conv"]["kernel"], (1, 1), "SAME", dimension_numbers=layout)
        h = bump("conv", h + p["conv"]["bias"])
        h = (h - h.mean((0, 1, 2))) / jnp.sqrt(h.var((0, 1, 2)) + 1e-5)
        h = jax.nn.relu(bump("norm", h * p["norm"]["scale"] + p["norm"]["bias"]))
        return error(bump("head", apply(p["head"], h.mean((1, 2)))), b[1])

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), params, batch, rtol=2e-4)
    slow = oracle.deltas(network, params, batch)
    assert oracle.names(found) == ["conv", "norm", "head"]
    assert [layer.op for layer in found.layers] == ["conv_general_dilated", "mul", "dot_general"]
    assert [layer.fan_in for layer in found.layers] == [9, None, 4]
    assert oracle.layer(found, "norm").activation == "relu"
    for layer in found.layers:
        assert layer.delta_norm == pytest.approx(oracle.norm(slow[layer.name]), rel=1e-4)


def test_a_residual_chain_counts_its_depth() -> None:
    params = [{"norm": {"scale": np.ones(4, np.float32)}, "dense": dense(i, 4, 4)} for i in range(3)]

    def loss(p: Any, b: Any) -> Any:
        h = b[0]
        for layer in p:
            h = h + jax.nn.relu(apply(layer["dense"], h * layer["norm"]["scale"]))
        return error(h, b[1])

    found = agreeing(loss, params, BATCH)
    assert [layer.depth for layer in found.layers] == [1, 2, 3, 4, 5, 6]
    assert oracle.names(found)[-1] == "[2].dense"


def test_two_networks_in_one_loss_are_cut_where_a_game_cuts_them() -> None:
    params = {"g": TWO, "d": jax.tree.map(lambda leaf: 0.9 * leaf, TWO)}

    def loss(p: Any, b: Any) -> Any:
        fake = two_layers(p["g"], b[1])
        real = jnp.mean(jax.nn.softplus(-two_layers(p["d"], b[0])))
        caught = jnp.mean(jax.nn.softplus(two_layers(p["d"], lax.stop_gradient(fake))))
        return real + caught + jnp.mean(jax.nn.softplus(-two_layers(lax.stop_gradient(p["d"]), fake)))

    found = agreeing(loss, params, BATCH)
    assert oracle.names(found) == ["g.first", "g.second", "d.first", "d.second"]
    assert set(oracle.connections(found).values()) == {Connection.CONNECTED}


def test_a_teacher_is_frozen_and_its_student_is_not() -> None:
    def loss(p: Any, b: Any) -> Any:
        return error(two_layers(p["s"], b[0]), lax.stop_gradient(two_layers(p["t"], b[0])))

    found = agreeing(loss, {"s": TWO, "t": jax.tree.map(lambda leaf: leaf + 0.1, TWO)}, BATCH)
    blocked = {n for n, how in oracle.connections(found).items() if how is Connection.BLOCKED}
    assert blocked == {p.name for p in found.parameters if p.name.startswith("t.")}


def test_a_student_that_is_its_own_teacher_keeps_the_delta_of_the_student() -> None:
    def network(p: Any, b: Any, bump: Any) -> Any:
        student = apply(p["second"], jnp.tanh(bump("first", apply(p["first"], b[0]))))
        return error(student, lax.stop_gradient(two_layers(p, b[1])))

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), TWO, BATCH)
    slow = oracle.deltas(network, TWO, BATCH)["first"]
    assert oracle.layer(found, "first").delta_rms == pytest.approx(oracle.pooled_rms([slow]), rel=1e-5)


def test_a_variational_autoencoder_has_its_two_heads_and_its_key() -> None:
    params = {"enc": dense(1, 4, 4), "mean": dense(2, 4, 2), "scale": dense(3, 4, 2), "dec": dense(4, 2, 4)}

    def loss(p: Any, b: Any, key: Any) -> Any:
        h = jnp.tanh(apply(p["enc"], b[0]))
        mean, log_scale = apply(p["mean"], h), apply(p["scale"], h)
        z = mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape)
        divergence = jnp.mean(mean**2 + jnp.exp(2 * log_scale) - 2 * log_scale - 1)
        return error(apply(p["dec"], z), b[0]) + 0.5 * divergence

    found = oracle.measured(loss, params, BATCH)
    assert sorted(oracle.names(found)) == ["dec", "enc", "mean", "scale"]
    assert [oracle.layer(found, name).depth for name in ("enc", "mean", "scale", "dec")] == [1, 2, 2, 3]


def test_a_contrastive_loss_uses_its_encoder_twice() -> None:
    def loss(p: Any, b: Any) -> Any:
        left, right = two_layers(p["enc"], b[0]), two_layers(p["enc"], b[1])
        left, right = (z / jnp.linalg.norm(z, axis=-1, keepdims=True) for z in (left, right))
        logits = left @ right.T * jnp.exp(p["scale"])
        return -jnp.mean(jnp.diag(jax.nn.log_softmax(logits)))

    found = agreeing(loss, {"enc": TWO, "scale": np.float32(0.7)}, BATCH)
    assert oracle.names(found) == ["enc.first", "enc.second", "scale"]
    assert [layer.uses for layer in found.layers] == [2, 2, 1]


def test_experts_behind_a_router_are_layers_side_by_side() -> None:
    params = {"gate": {"w": normal(1, 4, 3)}, "experts": [dense(i, 4, 4) for i in range(3)]}

    def loss(p: Any, b: Any) -> Any:
        weights, chosen = lax.top_k(jax.nn.softmax(b[0] @ p["gate"]["w"]), 2)
        spread = jnp.sum(jax.nn.one_hot(chosen, 3) * weights[..., None], 1)
        return error(sum(spread[:, i, None] * apply(e, b[0]) for i, e in enumerate(p["experts"])), b[1])

    found = agreeing(loss, params, BATCH)
    assert oracle.names(found) == ["gate", "experts[0]", "experts[1]", "experts[2]"]
    assert [layer.depth for layer in found.layers] == [1, 1, 1, 1]
    assert oracle.layer(found, "experts[2]").delta_rms is not None
    assert not [f for f in check_loss(loss, params, BATCH).findings if f.severity is Severity.ERROR]


def tapped_and_plain(depth: int) -> tuple[int, int]:
    """Equations of the differentiated loss with and without taps."""
    params = [dense(i, 4, 4) for i in range(depth)]

    def loss(p: Any, b: Any) -> Any:
        h = b[0]
        for layer in p:
            h = jnp.tanh(apply(layer, h))
        return error(h, b[1])

    tracer = Tracer(Problem(loss, params, BATCH))
    program, inputs = tracer.trace(BATCH), tracer.inputs(BATCH)
    assert len(program.sites) == depth
    sinks, gains = program.sinks(), program.gains()
    step = jax.value_and_grad(program.tapped, argnums=(0, 1), has_aux=True)
    tapped = jax.make_jaxpr(step)(inputs.weights, sinks, gains, inputs.others, list(program.body.consts))
    plain = jax.make_jaxpr(jax.value_and_grad(loss))(params, BATCH)
    return len(tapped.eqns), len(plain.eqns)


def test_the_tapped_program_grows_with_depth_by_the_same_few_equations() -> None:
    extra = [np.subtract(*tapped_and_plain(depth)) for depth in (4, 8, 16)]
    assert extra[2] - extra[1] == 2 * (extra[1] - extra[0])
    assert extra[2] < 40 * 16
