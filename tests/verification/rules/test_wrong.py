"""Rules that are wrong, and what is said of them. The right derivative is known by hand in each case."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.verification.rules.visit import STREAM
from tests.verification.rules.made import (
    CANNOT,
    RIGHT,
    WRONG,
    check,
    normal,
    one,
    rules_of,
    with_jvp,
    with_vjp,
)


def swish(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


def swish_forgets_a_term(args: Any, g: Any) -> Any:
    return (g * jax.nn.sigmoid(args[0]),)


def swish_right(args: Any, g: Any) -> Any:
    s = jax.nn.sigmoid(args[0])
    return (g * (s + args[0] * s * (1 - s)),)


def dense(w: Any, x: Any) -> Any:
    return x @ w


W, X = normal(6, 6), normal(5, 6, seed=1)

SAID = {
    "a factor of 2 is missing": ((lambda r, g: (r[1].T @ g / 2, g @ r[0].T)), 0.5),
    "a factor of 3 too much": ((lambda r, g: (3 * r[1].T @ g, g @ r[0].T)), 3.0),
    "its sign is flipped": ((lambda r, g: (-r[1].T @ g, g @ r[0].T)), -1.0),
    "a factor of 2 is missing and the sign is flipped": ((lambda r, g: (r[1].T @ g / -2, g @ r[0].T)), -0.5),
    "is zero, and the right one is not": ((lambda r, g: (0 * r[0], g @ r[0].T)), 0.0),
    "5 is the length of an axis, over which it takes a mean": (
        (lambda r, g: (r[1].T @ g / 5, g @ r[0].T)),
        0.2,
    ),
    "6 is the length of an axis, over which it is summed once too often": (
        (lambda r, g: (6 * r[1].T @ g, g @ r[0].T)),
        6.0,
    ),
    "is the transpose of the right one": ((lambda r, g: (g.T @ r[1], g @ r[0].T)), None),
    "ignores the incoming gradient": ((lambda r, g: (r[1].T @ jnp.ones_like(g), g @ r[0].T)), None),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("said", SAID)
def test_a_wrong_rule_is_told_in_what_way(said: str) -> None:
    backward, ratio = SAID[said]
    checks = check(with_vjp(dense, backward), W, X)
    w = one(checks, "w")
    assert (w.verdict, one(checks, "x").verdict) == (WRONG, RIGHT)
    assert said in w.reason
    assert w.ratio is None if ratio is None else w.ratio == pytest.approx(ratio, abs=1e-4)


def test_a_missing_cotangent_is_zero() -> None:
    found = one(check(with_vjp(dense, lambda r, g: (r[1].T @ g, None)), W, X), "x")
    assert (found.verdict, found.ratio) == (WRONG, 0.0)
    assert "the cotangent of `x` is zero" in found.reason


@pytest.mark.parametrize("batched", [False, True])
def test_a_wrong_swish_inside_scan_and_vmap_is_named_with_its_line(batched: bool) -> None:
    act = with_vjp(swish, swish_forgets_a_term)

    def loss(p: Any, b: Any) -> Any:
        inner = jax.vmap(jax.vmap(act)) if batched else act
        return jnp.mean(lax.scan(lambda h, w: (inner(h @ w), None), b, p)[0] ** 2)

    found = one(rules_of(loss, normal(4, 6, 6), normal(5, 6)))
    assert (found.verdict, found.function, found.kind) == (WRONG, "swish", "custom_vjp")
    assert (found.argument, found.uses) == ("x", 1)
    assert found.source is not None
    assert found.source.file.endswith("test_wrong.py")
    assert found.source.text == "def swish(x: Any) -> Any:"


def test_the_relative_error_is_that_of_the_norms() -> None:
    x = normal(40)
    found = one(check(with_vjp(swish, swish_forgets_a_term), x))
    s = np.asarray(jax.nn.sigmoid(x), np.float64)
    g = np.random.default_rng([0, STREAM]).standard_normal(40)
    right, given = g * (s + x * s * (1 - s)), g * s
    assert found.relative_error == pytest.approx(
        np.linalg.norm(given - right) / np.linalg.norm(right), rel=1e-4
    )


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 1e-3), ("float32", 30.0), ("bfloat16", 1.0), ("float16", 1e-2)]
)
def test_precision_and_size_of_the_values_do_not_change_the_verdict(dtype: str, size: float) -> None:
    x = jnp.asarray(size * normal(64), dtype)
    double = with_vjp(lambda x: x * x * 3, lambda r, g: (3 * g * r[0],))
    assert one(check(double, x)).verdict is WRONG
    assert one(check(with_vjp(lambda x: x * x * 3, lambda r, g: (6 * g * r[0],)), x)).verdict is RIGHT
    assert one(check(with_vjp(swish, swish_right), x)).verdict is RIGHT


def test_in_float64_too() -> None:
    with jax.enable_x64(True):
        x = normal(16, dtype=np.float64)
        assert one(check(with_vjp(swish, swish_forgets_a_term), x)).verdict is WRONG
        found = one(check(with_vjp(swish, swish_right), x))
    assert found.verdict is RIGHT
    assert found.uncertainty < 1e-12


@pytest.mark.few(1)
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_the_scale_of_the_loss_changes_nothing(scale: float) -> None:
    for backward in (swish_right, swish_forgets_a_term):
        here = check(with_vjp(swish, backward), normal(16), scale=scale)
        assert here == check(with_vjp(swish, backward), normal(16))


def elu(x: Any) -> Any:
    return jnp.where(x > 0, x, jnp.expm1(jnp.minimum(x, 0)))


def test_wrong_in_one_region_is_wrong_only_where_the_values_lie_there() -> None:
    always_one = with_vjp(elu, lambda r, g: (g,))
    assert one(check(always_one, jnp.abs(normal(30)))).verdict is not WRONG
    assert one(check(always_one, normal(30))).verdict is WRONG
    found = one(check(always_one, jnp.abs(normal(300)).at[7].set(-1.0)))
    assert (found.verdict, found.ratio) == (WRONG, None)
    assert "1 of 300 elements of the cotangent of `x` are off" in found.reason


def test_wrong_only_for_more_than_one_row() -> None:
    ruled = with_vjp(dense, lambda r, g: (jnp.outer(r[1][0], g[0]), g @ r[0].T))
    assert one(check(ruled, W, X[:1]), "w").verdict is RIGHT
    assert one(check(ruled, W, X), "w").verdict is WRONG


def test_a_wrong_custom_jvp_is_named() -> None:
    ruled = with_jvp(
        lambda x, y: x * jnp.sin(y), lambda p, t: t[0] * jnp.sin(p[1]) - t[1] * p[0] * jnp.cos(p[1])
    )
    checks = check(ruled, normal(8), normal(8, seed=1))
    assert [(c.argument, c.verdict, c.kind) for c in checks] == [
        ("x", RIGHT, "custom_jvp"),
        ("y", WRONG, "custom_jvp"),
    ]
    assert "the tangent for `y` is -1 times the right one: its sign is flipped" in checks[1].reason


def test_a_nan_where_the_right_derivative_is_finite_is_wrong() -> None:
    found = one(
        check(
            with_vjp(lambda x: x * jnp.abs(x), lambda r, g: (g * 2 * r[0] ** 2 / jnp.abs(r[0]),)),
            normal(9).at[2].set(0.0),
        )
    )
    assert found.verdict is WRONG
    assert "not finite in 1 of 9 elements" in found.reason
    assert found.relative_error == np.inf


def test_a_mask_that_the_rule_forgets_is_wrong() -> None:
    def masked(x: Any, keep: Any) -> Any:
        return jnp.where(keep, jnp.sin(x), 0.0)

    ruled = with_vjp(masked, lambda r, g: (g * jnp.cos(r[0]), None))
    keep = jnp.arange(12) % 3 > 0
    found = one(rules_of(lambda p: jnp.sum(ruled(p, keep)), normal(12)))
    assert (found.argument, found.verdict) == ("x", WRONG)


def test_a_forward_half_that_gives_something_else_is_wrong() -> None:
    ruled = jax.custom_vjp(lambda x: x**2)
    ruled.defvjp(lambda x: (1.2 * x**2, x), lambda x, g: (2 * x * g,))
    found = one(check(ruled, normal(5)))
    assert (found.argument, found.verdict) == ("", WRONG)
    assert "the forward half of its rule gives other results" in found.reason


def test_softmax_with_its_inner_stop_gradient_is_judged() -> None:
    def entropy(x: Any) -> Any:
        return -jnp.sum(jax.nn.softmax(x) * jax.nn.log_softmax(x), axis=-1)

    forgets_a_term = with_vjp(
        entropy, lambda r, g: (-g[:, None] * jax.nn.softmax(r[0]) * jax.nn.log_softmax(r[0]),)
    )
    assert one(check(forgets_a_term, normal(4, 7))).verdict is WRONG


def test_the_worst_of_several_uses_is_reported_once() -> None:
    ruled = with_vjp(elu, lambda r, g: (g,))

    def loss(p: Any) -> Any:
        return jnp.sum(ruled(jnp.abs(p)) ** 2) + jnp.sum(ruled(p)) + jnp.sum(ruled(p * p))

    found = one(rules_of(loss, normal(30)))
    assert (found.verdict, found.uses) == (WRONG, 3)


def test_of_very_many_uses_the_first_the_last_and_some_between_are_judged() -> None:
    ruled = with_vjp(elu, lambda r, g: (g,))

    def loss(p: Any) -> Any:
        return sum(jnp.sum(ruled(jnp.abs(p) + i)) for i in range(39)) + jnp.sum(ruled(p))

    found = one(rules_of(loss, normal(30)))
    assert (found.verdict, found.uses) == (WRONG, 40)


def test_inside_a_shard_map_it_cannot_be_judged() -> None:
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    ruled = with_vjp(swish, swish_forgets_a_term)
    rows = jax.sharding.PartitionSpec("rows")
    spread = jax.shard_map(ruled, mesh=mesh, in_specs=rows, out_specs=rows)
    found = one(rules_of(lambda p: jnp.sum(spread(p)), normal(8)))
    assert (found.verdict, found.function) == (CANNOT, "swish")
    assert "inside `shard_map`" in found.reason


def test_values_that_lie_on_several_devices_are_judged() -> None:
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    ruled = with_vjp(swish, swish_forgets_a_term)
    x = jax.device_put(normal(8, 3), rows)
    found = one(rules_of(lambda p, b: jnp.sum(ruled(b @ p)), normal(3, 2), x))
    assert found.verdict is WRONG


def test_a_place_that_is_never_reached_cannot_be_judged() -> None:
    ruled = with_vjp(swish, swish_forgets_a_term)

    def loss(p: Any, b: Any) -> Any:
        return jnp.sum(lax.cond(b[0] > 0, lambda x: ruled(x), jnp.sin, p))

    assert one(rules_of(loss, normal(4), jnp.ones(3))).verdict is WRONG
    found = one(rules_of(loss, normal(4), -jnp.ones(3)))
    assert found.verdict is CANNOT
    assert "branch that was not taken" in found.reason


AROUND = {
    "jit": lambda f: lambda x: jax.jit(f)(x),
    "remat": lambda f: lambda x: jax.checkpoint(f)(x),
    "scan": lambda f: lambda x: lax.scan(lambda h, _: (f(h), None), x, None, length=3)[0],
    "switch": lambda f: lambda x: lax.switch(1, [jnp.sin, f], x),
    "vmap": lambda f: lambda x: jax.vmap(f)(x),
    "another rule": lambda f: (
        lambda x: with_jvp(lambda x: 2 * f(x), lambda p, t: jax.jvp(lambda x: 2 * swish(x), p, t)[1])(x)
    ),
    "a traced trip count": lambda f: (
        lambda x: lax.while_loop(lambda c: c[1] < 3, lambda c: (f(c[0]), c[1] + 1), (x, 0))[0]
    ),
}


PAIRS = list(zip(AROUND, [*list(AROUND)[1:], *list(AROUND)[:1]], strict=True))


@pytest.mark.few(3)
@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_it_is_found_in_any_nesting(outer: str, inner: str) -> None:
    ruled = with_jvp(swish, lambda p, t: t[0] * jax.nn.sigmoid(p[0]))
    function = AROUND[outer](AROUND[inner](ruled))
    checks = [c for c in rules_of(lambda p: jnp.sum(function(p) ** 2), normal(3, 5)) if c.function == "swish"]
    assert one(checks).verdict is WRONG
