"""Functions that are called, rematerialized, named or chosen by a branch measure as if written out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import io_callback

from gradscope.records import Connection, Measurement, Severity
from gradscope.runs.check import check_loss
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, agreeing, apply, dense, error, two_layers


@jax.jit
def jitted(p: Any, h: Any) -> Any:
    return jax.jit(apply)(p, h)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def static(scale: float, p: Any, h: Any) -> Any:
    return apply(p, h * scale)


def named(p: Any, h: Any) -> Any:
    with jax.named_scope("transpose("):
        return checkpoint_name(apply(p, h), "hidden")


def printing(p: Any, h: Any) -> Any:
    z = apply(p, h)
    jax.debug.callback(lambda v: None, z)
    shape = jax.ShapeDtypeStruct(z.shape, z.dtype)
    z = z + jax.pure_callback(lambda v: np.zeros_like(v), shape, lax.stop_gradient(z))
    io_callback(lambda v: None, None, lax.stop_gradient(z), ordered=True)
    return z


save_hidden = jax.checkpoint_policies.save_only_these_names("hidden")

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "jit in jit": jitted,
    "jit with a static and a donated argument": partial(static, 1.0),
    "named_call": jax.named_call(apply, name="dense"),
    "a hostile scope and checkpoint_name": named,
    "remat": jax.checkpoint(apply),
    "remat that saves a name": jax.checkpoint(named, policy=save_hidden),
    "vmap over examples": lambda p, h: jax.vmap(lambda x: apply(p, x))(h),
    "callbacks": printing,
    "a barrier on the result": lambda p, h: lax.optimization_barrier((h, apply(p, h)))[1],
    "a branch": lambda p, h: lax.cond(h[0, 0] < 1e9, apply, lambda p, h: h, p, h),
    "linearize": lambda p, h: jax.linearize(lambda h: apply(p, h), h)[0],
}


@pytest.fixture(scope="module")
def written_out() -> Measurement:
    return oracle.measured(lambda p, b: error(two_layers(p, b[0]), b[1]), TWO, BATCH)


@pytest.mark.few(4)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_layers_measure_as_if_written_out_when_called_through(
    call: Callable[[Any, Any], Any], written_out: Measurement
) -> None:
    def loss(p: Any, b: Any) -> Any:
        return error(call(p["second"], jnp.tanh(call(p["first"], b[0]))), b[1])

    found = agreeing(loss, TWO, BATCH)
    assert found.unseen == ()
    for layer, same in zip(found.layers, written_out.layers, strict=True):
        assert (layer.name, layer.depth, layer.uses) == (same.name, same.depth, 1)
        assert (layer.op, layer.source) == (same.op, same.source)
        assert layer.delta_norm == pytest.approx(same.delta_norm, rel=1e-5)
        assert layer.activation_rms == pytest.approx(same.activation_rms, rel=1e-5)


def test_a_site_in_a_library_function_is_told_by_the_line_that_calls_it() -> None:
    params = {name: oracle.normal(i, 4, 4) for i, name in enumerate("abcd")}

    def loss(p: Any, b: Any) -> Any:
        h = jnp.einsum("bi,ij->bj", b[0], p["a"])
        h = jnp.einsum("bi,ij->bj", jnp.tanh(h), p["b"])
        rows = jnp.take(p["c"], jnp.argmax(h, -1), axis=0)
        others = jnp.take(p["d"], jnp.argmax(h, -1), axis=0)
        return error(h + rows * others, b[1])

    found = agreeing(loss, params, BATCH)
    assert oracle.names(found) == ["a", "b", "c", "d"]
    for layer in found.layers:
        assert layer.source is not None
        assert f'p["{layer.name}"]' in layer.source.text


FOUR = {f"l{i}": dense(i, 4, 4) for i in range(4)}


def test_a_branch_that_is_not_taken_is_no_error() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = apply(p["l0"], b[0])
        h = lax.cond(b[0][0, 0] > 1e9, lambda h: apply(p["l1"], h), lambda h: apply(p["l2"], h), h)
        return error(apply(p["l3"], h), b[1])

    report = check_loss(loss, FOUR, BATCH)
    found = report.flow
    assert sorted(oracle.names(found)) == ["l0", "l1", "l2", "l3"]
    assert oracle.layer(found, "l1").gradient_norm == 0
    assert oracle.parameter(found, "l1.w").connection is Connection.CONNECTED
    assert oracle.layer(found, "l1").depth == oracle.layer(found, "l2").depth == 2
    assert oracle.layer(found, "l3").depth == 3
    assert (oracle.layer(found, "l1").activation_rms, oracle.layer(found, "l1").delta_rms) == (None, None)
    assert not [f for f in report.findings if f.severity is Severity.ERROR]


def test_the_branches_of_a_switch_are_layers_of_their_own() -> None:
    ways = [lambda p, h, i=i: jnp.tanh(apply(p[f"l{i}"], h)) for i in range(3)]

    def network(p: Any, b: Any, bump: Any) -> Any:
        h = bump("chosen", lax.switch(b[2], ways, p, b[0]))
        return error(apply(p["l3"], h), b[1])

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), FOUR, (*BATCH, np.int32(1)))
    assert oracle.names(found) == ["l0", "l1", "l2", "l3"]
    assert [layer.depth for layer in found.layers] == [1, 1, 1, 2]
    assert [layer.gradient_norm > 0 for layer in found.layers] == [False, True, False, True]


def test_a_branch_taken_at_one_step_is_pooled_over_that_step_alone() -> None:
    ways = [lambda p, h, i=i: jnp.tanh(apply(p[f"l{i}"], h)) for i in range(4)]

    def loss(p: Any, b: Any) -> Any:
        return error(
            lax.scan(lambda h, i: (lax.switch(i, ways, p, h), None), b[0], np.array([0, 1, 2, 1]))[0], b[1]
        )

    def slowly(p: Any, b: Any, bump: Any) -> Any:
        h = b[0]
        for t, i in enumerate([0, 1, 2, 1]):
            h = jnp.tanh(bump(f"{t}", apply(p[f"l{i}"], h)))
        return error(h, b[1])

    found, slow = oracle.measured(loss, FOUR, BATCH), oracle.deltas(slowly, FOUR, BATCH)
    for name, steps in {"l0": "0", "l1": "13", "l2": "2"}.items():
        expected = oracle.pooled_rms([slow[t] for t in steps])
        assert oracle.layer(found, name).delta_rms == pytest.approx(expected, rel=1e-5)
    assert oracle.layer(found, "l3").delta_rms is None


def test_a_while_loop_that_takes_parameters_is_told_as_unseen() -> None:
    def loss(p: Any, b: Any) -> Any:
        frozen = lax.stop_gradient(p["first"])
        more, turn = lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.tanh(apply(frozen, c[1])))
        return error(apply(p["second"], lax.while_loop(more, turn, (0, b[0]))[1]), b[1])

    found = agreeing(loss, TWO, BATCH)
    (unseen,) = found.unseen
    assert unseen.what.startswith("while at")
    assert oracle.parameter(found, "first.w").connection is Connection.BLOCKED
    assert oracle.parameter(found, "second.w").connection is Connection.CONNECTED


def test_a_while_loop_over_activations_is_not_told_as_unseen() -> None:
    def loss(p: Any, b: Any) -> Any:
        out = two_layers(p, b[0])
        size = jnp.max(jnp.abs(lax.stop_gradient(out)))
        halvings = lax.while_loop(lambda c: c[1] > 1e-3, lambda c: (c[0] + 1, c[1] * 0.5), (0, size))[0]
        return error(out, b[1]), {"halvings": halvings}

    assert agreeing(loss, TWO, BATCH).unseen == ()


ROWS = np.array([0, 0, 1])


def pooled(h: Any, start: float, by: Any) -> Any:
    return lax.reduce_window(h, start, by, (2, 1), (1, 1), "SAME")


PLAIN: dict[str, Callable[[Any], Any]] = {
    "segment_sum and at-add": lambda h: jax.ops.segment_sum(h, np.arange(8) // 2, 8).at[ROWS].add(1.0),
    "max and sum pooling": lambda h: pooled(pooled(h, -jnp.inf, lax.max), 0.0, lax.add),
    "sort, top_k and cumsum": lambda h: jnp.cumsum(lax.top_k(jnp.sort(h, axis=-1), 4)[0], axis=-1),
    "fft": lambda h: jnp.fft.irfft(jnp.fft.rfft(h) * (1 + 2j), n=4),
    "dynamic_slice": lambda h: lax.dynamic_slice(h, (jnp.argmax(h[0]) * 0, 0), (8, 4)),
    "svd": lambda h: h * jnp.linalg.svd(h, compute_uv=False)[0],
}


@pytest.mark.few(2)
@pytest.mark.parametrize("operation", PLAIN.values(), ids=PLAIN)
def test_an_operation_on_activations_runs_as_it_is(operation: Callable[[Any], Any]) -> None:
    def network(p: Any, b: Any, bump: Any) -> Any:
        return error(apply(p["second"], operation(bump("z", apply(p["first"], b[0])))), b[1])

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), TWO, BATCH)
    assert oracle.names(found) == ["first", "second"]
    assert found.unseen == ()
    slow = oracle.norm(oracle.deltas(network, TWO, BATCH)["z"])
    assert oracle.layer(found, "first").delta_norm == pytest.approx(slow, rel=1e-4)


def test_a_root_that_a_solver_finds_passes_its_gradient_on() -> None:
    def loss(p: Any, b: Any) -> Any:
        z = apply(p["first"], b[0])
        solve = lambda f, s: lax.fori_loop(0, 20, lambda _, s: s - f(s), s)  # noqa: E731
        tangent = lambda g, y: y / g(jnp.ones_like(y))  # noqa: E731
        root = lax.custom_root(lambda s: s - jnp.tanh(0.3 * z + 0.1 * s), jnp.zeros_like(z), solve, tangent)
        return error(apply(p["second"], root), b[1])

    assert oracle.names(agreeing(loss, TWO, BATCH)) == ["first", "second"]


def test_a_solver_that_takes_a_weight_is_told_as_unseen() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = jnp.linalg.solve(p["first"]["w"] + 3 * jnp.eye(4), b[0].T).T
        return error(apply(p["second"], h + p["first"]["b"]), b[1])

    found = agreeing(loss, TWO, BATCH)
    assert [unseen.what.split(" at ")[0] for unseen in found.unseen] == ["custom_linear_solve"]
    assert set(oracle.connections(found).values()) == {Connection.CONNECTED}
    assert oracle.layer(found, "first").delta_rms is not None


def test_an_equilibrium_layer_with_its_own_backward_pass_is_tapped_at_its_result() -> None:
    def field(p: Any, s: Any, x: Any) -> Any:
        return jnp.tanh(0.3 * s @ p["w"] + p["b"] + x)

    @jax.custom_vjp
    def equilibrium(p: Any, x: Any) -> Any:
        return lax.while_loop(lambda c: c[0] < 20, lambda c: (c[0] + 1, field(p, c[1], x)), (0, x))[1]

    def forward(p: Any, x: Any) -> Any:
        s = equilibrium(p, x)
        return s, (p, s, x)

    def backward(saved: Any, ct: Any) -> Any:
        p, s, x = saved
        state = jax.vjp(lambda s: field(p, s, x), s)[1]
        total = lax.fori_loop(0, 20, lambda _, w: ct + state(w)[0], ct)
        return jax.vjp(lambda p, x: field(p, s, x), p, x)[1](total)

    equilibrium.defvjp(forward, backward)

    def network(p: Any, b: Any, bump: Any) -> Any:
        return error(apply(p["second"], bump("s", equilibrium(p["first"], b[0]))), b[1])

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), TWO, BATCH)
    slow = oracle.deltas(network, TWO, BATCH)
    assert oracle.layer(found, "first").delta_norm == pytest.approx(oracle.norm(slow["s"]), rel=1e-5)


def test_a_branch_for_each_example_leaves_its_weights_weights() -> None:
    def loss(p: Any, b: Any) -> Any:
        def one(x: Any, y: Any) -> Any:
            return error(lax.cond(x[0] > 0, lambda x: apply(p["l0"], x), lambda x: apply(p["l1"], x), x), y)

        return jnp.mean(jax.vmap(one)(*b))

    found = agreeing(loss, {"l0": FOUR["l0"], "l1": FOUR["l1"]}, BATCH)
    assert sorted(oracle.names(found)) == ["l0", "l1"]
    assert {layer.op for layer in found.layers} == {"dot_general"}


def test_an_opaque_net_stands_at_the_output_that_the_loss_uses() -> None:
    @jax.custom_vjp
    def net(weights: Any, x: Any) -> Any:
        for w in weights:
            x = jnp.tanh(x @ w)
        return x.sum(), x

    def plain_net(weights: Any, x: Any) -> Any:
        for w in weights:
            x = jnp.tanh(x @ w)
        return x.sum(), x

    net.defvjp(lambda w, x: (net(w, x), (w, x)), lambda kept, ct: jax.vjp(plain_net, *kept)[1](ct))
    params = {"net": [FOUR[f"l{i}"]["w"] for i in range(3)]}
    found = agreeing(lambda p, b: error(net(p["net"], b[0])[1], b[1]), params, BATCH)
    (layer,) = found.layers
    eps = jnp.zeros_like(BATCH[0])
    delta = jax.grad(lambda e: error(plain_net(params["net"], BATCH[0])[1] + e, BATCH[1]))(eps)
    assert layer.delta_norm == pytest.approx(float(jnp.linalg.norm(delta)), rel=1e-5)
    assert [one.what.split(" ")[0] for one in found.unseen] == ["custom_vjp_call"]
