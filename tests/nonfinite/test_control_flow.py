"""The same two sick lines inside everything that carries a program: found at the line, at the iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from gradscope.records import Cause, Origin, Skipped
from tests.nonfinite.finding import X, is_finite, looked_for, marked_line, origin_of

BAD = 3
"""The step of a loop at which it happens."""
STEPS = 6


def forward(h: Any, danger: Any) -> Any:
    """Negative where there is danger."""
    return jnp.log(1.0 + h * h - 1e6 * danger)  # here


def backward(h: Any, danger: Any) -> Any:
    """Zero where there is danger: the slope of the root is infinite there."""
    return jnp.sqrt((h * h + 1e-3) * (1.0 - danger))  # here


Sick = Callable[[Any, Any], Any]
Around = Callable[[Sick, Any, Any], Any]


def plain(f: Sick, w: Any, b: Any) -> Any:
    return f(b @ w, 1.0).sum()


def jitted(f: Sick, w: Any, b: Any) -> Any:
    return jax.jit(lambda h: f(h, 1.0).sum())(b @ w)


def remat(f: Sick, w: Any, b: Any) -> Any:
    return jax.checkpoint(lambda h: f(h, 1.0).sum())(b @ w)


def vmapped(f: Sick, w: Any, b: Any) -> Any:
    return jax.vmap(lambda x: f(x @ w, 1.0).sum())(b).sum()


def cond(f: Sick, w: Any, b: Any) -> Any:
    return lax.cond(b[0, 0] < 99, lambda h: f(h, 1.0), lambda h: h, b @ w).sum()


def custom_jvp(f: Sick, w: Any, b: Any) -> Any:
    return jax.nn.silu(f(b @ w, 1.0)).sum()


def inner_gradient(f: Sick, w: Any, b: Any) -> Any:
    return jax.grad(lambda w: (b @ w).sum())(w).sum() + f(b @ w, 1.0).sum()


def deep(f: Sick, w: Any, b: Any) -> Any:
    inner = jax.checkpoint(lambda h: lax.cond(h[0] < 99, lambda h: f(h, 1.0), lambda h: h, h).sum())
    return jax.jit(lambda h: jax.vmap(inner)(h).sum())(b @ w)


def scan(f: Sick, w: Any, b: Any) -> Any:
    def step(h: Any, t: Any) -> Any:
        h = jnp.tanh(h @ w[:3] + 1.0)
        return h, f(h, (t == BAD).astype(jnp.float32))

    return lax.scan(step, b @ w, jnp.arange(STEPS))[1].sum()


def carried(f: Sick, w: Any, b: Any) -> Any:
    def step(h: Any, t: Any) -> Any:
        return 0.1 * f(h, (t == BAD).astype(jnp.float32)) + 1.0, None

    return lax.scan(step, b @ w, jnp.arange(STEPS))[0].sum()


def reversed_scan(f: Sick, w: Any, b: Any) -> Any:
    def step(h: Any, t: Any) -> Any:
        h = jnp.tanh(h @ w[:3] + 1.0)
        return h, f(h, (t == BAD).astype(jnp.float32))

    return lax.scan(step, b @ w, jnp.arange(STEPS)[::-1], reverse=True)[1].sum()


def fori(f: Sick, w: Any, b: Any) -> Any:
    def step(t: Any, h: Any) -> Any:
        return 0.1 * f(h, (t == BAD).astype(jnp.float32)) + 1.0

    return lax.fori_loop(0, STEPS, step, b @ w).sum()


def scan_of_jitted_cond(f: Sick, w: Any, b: Any) -> Any:
    @jax.jit
    def step(h: Any, t: Any) -> Any:
        return lax.cond(t == BAD, lambda h: f(h, 1.0), lambda h: h, h) + 1.0, None

    return jax.jit(lambda h: lax.scan(step, h, jnp.arange(STEPS))[0].sum())(b @ w)


def remat_scan(f: Sick, w: Any, b: Any) -> Any:
    @jax.checkpoint
    def step(h: Any, t: Any) -> Any:
        return 0.1 * f(h, (t == BAD).astype(jnp.float32)) + 1.0, None

    return lax.scan(step, b @ w, jnp.arange(STEPS))[0].sum()


AROUND = [plain, jitted, remat, vmapped, cond, custom_jvp, inner_gradient, deep]
LOOPS = [scan, carried, reversed_scan, fori, scan_of_jitted_cond, remat_scan]


def found_in(around: Around, sick: Sick) -> Origin:
    def loss(p: Any, b: Any) -> Any:
        return around(sick, p["w"], b)

    assert not is_finite(loss)
    return origin_of(loss)


@pytest.mark.few(4)
@pytest.mark.parametrize("around", [*AROUND, *LOOPS])
def test_a_forward_birth_is_found(around: Around) -> None:
    found = found_in(around, forward)
    assert (found.cause, found.op, found.backward) == (Cause.LOG_OF_NEGATIVE, "log", False)
    assert found.source is not None
    assert found.source.line == marked_line(forward)
    assert found.operands[0] < -1e5
    assert found.steps == ((BAD,) if around in LOOPS else ())


@pytest.mark.few(4)
@pytest.mark.parametrize("around", [*AROUND, *LOOPS])
def test_a_birth_in_the_derivative_is_found(around: Around) -> None:
    found = found_in(around, backward)
    assert (found.cause, found.derivative_of) == (Cause.ROOT_AT_ZERO, "sqrt")
    assert found.forward_operands == (0.0,)
    assert found.source is not None
    assert found.source.line == marked_line(backward)
    assert found.steps == ((BAD,) if around in LOOPS else ())
    assert found.poisoned == ("w",)


@jax.custom_vjp
def doubled(x: Any) -> Any:
    return 2 * x


def doubled_backward(x: Any, ct: Any) -> Any:
    nothing = x - x
    return (ct / nothing,)  # here


doubled.defvjp(lambda x: (2 * x, x), doubled_backward)


@pytest.mark.parametrize("wrapped", [lambda f: f, jax.jit, jax.checkpoint])
def test_a_users_backward_rule_is_named_at_its_own_line(wrapped: Any) -> None:
    found = origin_of(lambda p, b: wrapped(doubled)(b @ p["w"]).sum())
    assert (found.cause, found.derivative_of, found.backward) == (Cause.CUSTOM_RULE, "doubled", True)
    assert found.source is not None
    assert found.source.line == marked_line(doubled_backward)
    assert found.operands == (1.0, 0.0)


def test_a_users_backward_rule_is_found_inside_a_scan() -> None:
    def loss(p: Any, b: Any) -> Any:
        return lax.scan(lambda h, _: (doubled(h), None), b @ p["w"], length=3)[0].sum()

    found = origin_of(loss)
    assert (found.cause, found.derivative_of) == (Cause.CUSTOM_RULE, "doubled")
    assert found.steps == (2,)
    assert found.source is not None
    assert found.source.line == marked_line(doubled_backward)


@jax.custom_jvp
def tripled(x: Any) -> Any:
    return 3 * x


@tripled.defjvp
def tripled_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return 3 * x, t * jnp.log(x - x)


def test_a_users_jvp_rule_is_named() -> None:
    found = origin_of(lambda p, b: tripled(b @ p["w"]).sum())
    assert (found.cause, found.derivative_of) == (Cause.CUSTOM_RULE, "tripled")


def test_a_rule_of_a_library_is_not_called_the_users() -> None:
    def loss(p: Any, b: Any) -> Any:
        low = b @ p["w"] + jnp.where(jnp.arange(3) > 0, 0.0, -jnp.inf)
        both = jnp.logaddexp(low, low)  # here
        return jnp.where(jnp.isfinite(both), both, 0.0).sum()

    found = origin_of(loss)
    assert (found.cause, found.derivative_of) == (Cause.INFINITY_MINUS_INFINITY, "logaddexp")
    assert found.source is not None
    assert found.source.line == marked_line(loss)


def test_growth_in_a_loop_names_the_iteration_at_which_it_overflows() -> None:
    def loss(p: Any, b: Any) -> Any:
        def step(h: Any, _: Any) -> Any:
            return h * 1e6, None  # here

        return lax.scan(step, jnp.abs(b @ p["w"]) + 1.0, length=10)[0].sum()

    found = origin_of(loss)
    assert found.cause is Cause.GROWTH_IN_LOOP
    assert found.steps == (6,)
    assert found.source is not None
    assert found.source.line == marked_line(loss)
    ranges = [step.high for step in found.lead_up if step.op == "scan"]
    assert len(ranges) >= 4
    assert ranges == sorted(ranges)


def test_a_gradient_that_overflows_on_its_way_back_through_time_names_the_step() -> None:
    def loss(p: Any, b: Any) -> Any:
        def step(h: Any, _: Any) -> Any:
            return jnp.sin(h * 1e8), None  # here

        return lax.scan(step, b @ p["w"], length=10)[0].sum()

    found = origin_of(loss)
    assert found.backward
    assert found.cause is Cause.GROWTH_IN_LOOP
    assert found.derivative_of in ("sin", "mul")
    assert found.source is not None
    assert found.source.line == marked_line(loss)
    assert 3 <= found.steps[0] <= 6


def test_a_while_loop_is_stepped_too() -> None:
    def loss(p: Any, b: Any) -> Any:
        start = lax.stop_gradient(jnp.abs(b @ p["w"]).sum())
        end = lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] + 1, c[1] * 1e9), (0, start))  # here
        return end[1] * p["w"].sum()

    found = origin_of(loss)
    assert (found.op, found.steps) == ("mul", (4,))
    assert found.source is not None
    assert found.source.line == marked_line(loss)


def test_an_operation_without_a_rule_is_named_as_a_whole() -> None:
    def inside(w: Any, b: Any) -> Any:
        return jnp.log(-1.0 - (b @ w) ** 2)

    def loss(p: Any, b: Any) -> Any:
        mesh = jax.make_mesh((1,), ("d",))
        mapped = jax.shard_map(inside, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec())
        return mapped(p["w"], b).sum()

    found = origin_of(loss)
    assert (found.op, found.cause) == ("shard_map", Cause.UNSEEN)


def test_what_a_callback_returns_is_named() -> None:
    def loss(p: Any, b: Any) -> Any:
        shape = jax.ShapeDtypeStruct((), np.float32)
        scale = jax.pure_callback(lambda x: np.float32(np.nan), shape, b)  # here
        return (b @ p["w"]).sum() * scale

    found = origin_of(loss)
    assert (found.op, found.cause) == ("pure_callback", Cause.UNSEEN)
    assert found.source is not None
    assert found.source.line == marked_line(loss)


def test_a_function_called_three_times_is_told_apart_by_its_operands() -> None:
    @jax.jit
    def root(h: Any, shift: Any) -> Any:
        return jnp.sqrt(h * h + shift).sum()  # here

    def loss(p: Any, b: Any) -> Any:
        h = b @ p["w"]
        return root(h, 1.0) + root(h - h, 0.0) + root(h, 2.0)

    found = origin_of(loss)
    assert (found.cause, found.forward_operands) == (Cause.ROOT_AT_ZERO, (0.0,))
    assert found.source is not None
    assert found.source.line == marked_line(root.__wrapped__)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_every_precision_is_followed(dtype: Any) -> None:
    def loss(p: Any, b: Any) -> Any:
        h = b.astype(dtype) @ p["w"]
        return jnp.sqrt(h - h).sum().astype(jnp.float32)  # here

    found = origin_of(loss, {"w": jnp.ones((4, 3), dtype)})
    assert (found.cause, found.dtype) == (Cause.ROOT_AT_ZERO, jnp.dtype(dtype).name)


def test_double_precision_is_followed() -> None:
    with jax.enable_x64(True):
        found = origin_of(
            lambda p, b: jnp.log(-jnp.exp(b @ p["w"])).sum(), {"w": np.ones((4, 3))}, np.float64(X)
        )
    assert (found.cause, found.dtype) == (Cause.LOG_OF_NEGATIVE, "float64")
    assert math.isnan(found.result)


def test_values_that_are_spread_over_devices_are_followed() -> None:
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.device_put(np.tile(X, (2, 1)), jax.NamedSharding(mesh, PartitionSpec("d")))

    def loss(p: Any, b: Any) -> Any:
        h = b @ p["w"]
        return jnp.sqrt((h - h) ** 2).sum()  # here

    found = origin_of(loss, batch=rows)
    assert (found.cause, found.forward_operands, found.elements) == (Cause.ROOT_AT_ZERO, (0.0,), 30)
    assert found.source is not None
    assert found.source.line == marked_line(loss)


@pytest.mark.parametrize("calls_back", [True, False])
def test_only_what_a_callback_raises_is_told_as_the_runs_fault(
    calls_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(p: Any, b: Any) -> Any:
        x = jnp.sqrt(jnp.sum(p["w"] * 0))
        return jax.pure_callback(np.sin, x, x) if calls_back else x

    def fails(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    monkeypatch.setattr("gradscope.nonfinite.find._find", fails)
    found = looked_for(loss)
    assert isinstance(found, Skipped)
    assert ("gradscope itself failed" in found.reason) is not calls_back
