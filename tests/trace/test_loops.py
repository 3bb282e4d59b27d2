"""Loops over time, over layers, and each in the other, against a Python loop that perturbs every step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.trace import oracle
from tests.trace.oracle import BATCH, RECURRENT, SEQUENCE, STEPS, TWO, agreeing, apply, error, step


def recurrent(p: Any, b: Any, reverse: bool = False) -> Any:
    h = jnp.zeros(b[1].shape)
    h, _ = lax.scan(lambda h, x: (step(p["cell"], h, x), None), h, b[0], reverse=reverse)
    return error(apply(p["head"], h), b[1])


def recurrent_slowly(p: Any, b: Any, bump: Any, reverse: bool = False) -> Any:
    h = jnp.zeros(b[1].shape)
    for t in range(STEPS):
        h = bump(f"h{t}", h)
        z = b[0][STEPS - 1 - t if reverse else t] @ p["cell"]["wx"] + h @ p["cell"]["wh"] + p["cell"]["b"]
        h = jnp.tanh(bump(f"z{t}", z))
    return error(apply(p["head"], h), b[1])


@pytest.mark.few(1)
@pytest.mark.parametrize("reverse", [False, True])
def test_delta_of_a_state_at_each_step_is_that_of_a_python_loop(reverse: bool) -> None:
    found = agreeing(lambda p, b: recurrent(p, b, reverse), RECURRENT, SEQUENCE)
    slow = oracle.deltas(lambda p, b, bump: recurrent_slowly(p, b, bump, reverse), RECURRENT, SEQUENCE)
    state = oracle.recurrence(found)
    expected = [oracle.norm(slow[f"h{t}"]) for t in range(STEPS)]
    np.testing.assert_allclose(state.delta_norms, expected, rtol=1e-5)
    cell = oracle.layer(found, "cell")
    assert cell.delta_rms == pytest.approx(oracle.pooled_rms([slow[f"z{t}"] for t in range(STEPS)]), rel=1e-5)
    assert state.layers == ("cell",)
    assert state.length == STEPS
    assert state.function == "tanh"


def test_two_products_and_a_bias_of_a_cell_are_one_layer() -> None:
    found = agreeing(recurrent, RECURRENT, SEQUENCE)
    cell = oracle.layer(found, "cell")
    assert oracle.names(found) == ["cell", "head"]
    assert cell.parameters == ("cell.b", "cell.wh", "cell.wx")
    assert cell.fan_in == 8
    assert cell.source is not None
    assert cell.source.text.startswith("return jnp.tanh(x @ cell")


def test_state_rms_is_that_of_the_state_that_enters_each_step() -> None:
    state = oracle.recurrence(oracle.measured(recurrent, RECURRENT, SEQUENCE))
    h = jnp.zeros((3, 4))
    for t in range(STEPS):
        assert state.state_rms[t] == pytest.approx(oracle.pooled_rms([h]), rel=1e-5)
        h = step(RECURRENT["cell"], h, SEQUENCE[0][t])


def test_a_loop_without_inputs_has_a_delta_per_step() -> None:
    def loss(p: Any, b: Any) -> Any:
        h, _ = lax.scan(lambda h, _: (jnp.tanh(apply(p["first"], h)), None), b[0], None, length=3)
        return error(apply(p["second"], h), b[1])

    found = agreeing(loss, TWO, BATCH)
    assert oracle.recurrence(found).length == 3
    assert oracle.names(found) == ["first", "second"]


def test_a_counted_fori_loop_is_a_loop_over_time() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = lax.fori_loop(0, 3, lambda _, h: jnp.tanh(apply(p["first"], h)), b[0])
        return error(apply(p["second"], h), b[1])

    assert oracle.recurrence(agreeing(loss, TWO, BATCH)).layers == ("first",)


def test_mapped_examples_are_no_recurrence() -> None:
    def loss(p: Any, b: Any) -> Any:
        return error(lax.map(lambda x: oracle.two_layers(p, x), b[0]), b[1])

    found = agreeing(loss, TWO, BATCH)
    assert found.recurrences == ()
    assert oracle.layer(found, "first").delta_norm == pytest.approx(
        oracle.layer(
            oracle.measured(lambda p, b: error(oracle.two_layers(p, b[0]), b[1]), TWO, BATCH), "first"
        ).delta_norm,
        rel=1e-5,
    )


def test_a_recurrence_vmapped_over_examples_is_the_batched_one() -> None:
    def single(p: Any, x: Any, y: Any) -> Any:
        h, _ = lax.scan(lambda h, x: (step(p["cell"], h, x), None), jnp.zeros(4), x)
        return error(apply(p["head"], h), y)

    def loss(p: Any, b: Any) -> Any:
        return jnp.mean(jax.vmap(lambda x, y: single(p, x, y), (1, 0))(b[0], b[1]))

    found, batched = agreeing(loss, RECURRENT, SEQUENCE), oracle.measured(recurrent, RECURRENT, SEQUENCE)
    np.testing.assert_allclose(
        oracle.recurrence(found).delta_norms, oracle.recurrence(batched).delta_norms, rtol=1e-5
    )
    assert oracle.names(found) == ["cell", "head"]


def test_both_states_of_an_lstm_are_followed_from_the_first_step_that_runs() -> None:
    params = {
        "lstm": {"wx": oracle.normal(1, 4, 16), "wh": oracle.normal(2, 4, 16), "b": oracle.normal(3, 16)}
    }

    def cell(p: Any, carry: Any, x: Any) -> Any:
        h, s = carry
        i, f, o, g = jnp.split(x @ p["wx"] + h @ p["wh"] + p["b"], 4, -1)
        s = jax.nn.sigmoid(f) * s + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(s), s

    def loss(p: Any, b: Any) -> Any:
        start = jnp.zeros((3, 4)), jnp.zeros((3, 4))
        (h, _), _ = lax.scan(lambda c, x: (cell(p["lstm"], c, x), None), start, b[0], reverse=True)
        return error(h, b[1])

    def slowly(p: Any, b: Any, bump: Any) -> Any:
        h = s = jnp.zeros((3, 4))
        for t in range(STEPS):
            h, s = cell(p["lstm"], (bump(f"h{t}", h), bump(f"s{t}", s)), b[0][STEPS - 1 - t])
        return error(h, b[1])

    found, slow = agreeing(loss, params, SEQUENCE), oracle.deltas(slowly, params, SEQUENCE)
    assert oracle.names(found) == ["lstm"]
    for name, state in zip("hs", found.recurrences, strict=True):
        np.testing.assert_allclose(
            state.delta_norms, [oracle.norm(slow[f"{name}{t}"]) for t in range(STEPS)], rtol=1e-5
        )


def test_the_gates_of_a_gru_are_three_layers() -> None:
    gates = {
        name: oracle.normal(i, 4, 4, scale=0.5) for i, name in enumerate(("wz", "uz", "wr", "ur", "wc", "uc"))
    }
    biases = {name: oracle.normal(9, 4, scale=0.1) for name in ("bz", "br", "bc")}

    def cell(p: Any, h: Any, x: Any) -> Any:
        z = jax.nn.sigmoid(x @ p["wz"] + h @ p["uz"] + p["bz"])
        r = jax.nn.sigmoid(x @ p["wr"] + h @ p["ur"] + p["br"])
        return (1 - z) * h + z * jnp.tanh(x @ p["wc"] + (r * h) @ p["uc"] + p["bc"])

    def loss(p: Any, b: Any) -> Any:
        h, _ = lax.scan(lambda h, x: (cell(p["gru"], h, x), None), jnp.zeros((3, 4)), b[0])
        return error(h, b[1])

    found = agreeing(loss, {"gru": gates | biases}, SEQUENCE)
    assert [layer.parameters for layer in found.layers] == [
        ("gru.bz", "gru.uz", "gru.wz"),
        ("gru.br", "gru.ur", "gru.wr"),
        ("gru.bc", "gru.uc", "gru.wc"),
    ]
    assert [layer.activation for layer in found.layers] == ["logistic", "logistic", "tanh"]


def test_a_runge_kutta_solver_uses_its_field_four_times_a_step() -> None:
    def loss(p: Any, b: Any) -> Any:
        def rk4(h: Any, _: Any) -> Any:
            k1 = oracle.two_layers(p, h)
            k2 = oracle.two_layers(p, h + 0.05 * k1)
            k3 = oracle.two_layers(p, h + 0.05 * k2)
            k4 = oracle.two_layers(p, h + 0.1 * k3)
            return h + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        return error(lax.scan(rk4, b[0], None, length=4)[0], b[1])

    found = agreeing(loss, TWO, BATCH)
    assert [layer.uses for layer in found.layers] == [4, 4]
    assert oracle.recurrence(found).length == 4


def test_a_loop_that_runs_once_is_no_recurrence() -> None:
    def loss(p: Any, b: Any) -> Any:
        h, _ = lax.scan(lambda h, _: (jnp.tanh(apply(p["first"], h)), None), b[0], None, length=1)
        return error(apply(p["second"], h), b[1])

    assert agreeing(loss, TWO, BATCH).recurrences == ()


def test_an_associative_scan_is_plain_arithmetic() -> None:
    params = {"decay": oracle.normal(1, 4), "inward": {"w": oracle.normal(2, 4, 4)}}

    def merge(a: Any, c: Any) -> Any:
        return a[0] * c[0], c[0] * a[1] + c[1]

    def loss(p: Any, b: Any) -> Any:
        decay = jnp.broadcast_to(jax.nn.sigmoid(p["decay"]), b[0].shape)
        return error(lax.associative_scan(merge, (decay, b[0] @ p["inward"]["w"]))[1][-1], b[1])

    found = agreeing(loss, params, SEQUENCE)
    assert oracle.names(found) == ["inward", "decay"]
    assert found.unseen == ()


def fixed_point(p: Any, b: Any, start: Any) -> Any:
    z = lax.fori_loop(0, 12, lambda _, z: jnp.tanh(apply(p["first"], z) + b[0]), start)
    return error(apply(p["second"], z), b[1])


def test_a_search_for_a_fixed_point_has_no_time_to_forget() -> None:
    found = agreeing(lambda p, b: fixed_point(p, b, jnp.zeros_like(b[0])), TWO, BATCH)
    assert found.recurrences == ()
    assert len(agreeing(lambda p, b: fixed_point(p, b, b[0]), TWO, BATCH).recurrences) == 1


def test_a_loop_that_picks_its_input_by_a_counter_is_over_time() -> None:
    def loss(p: Any, b: Any) -> Any:
        start = jnp.zeros(b[1].shape)
        h = lax.fori_loop(0, STEPS, lambda t, h: step(p["cell"], h, b[0][t]), start)
        return error(apply(p["head"], h), b[1])

    assert len(agreeing(loss, RECURRENT, SEQUENCE).recurrences) == 1
