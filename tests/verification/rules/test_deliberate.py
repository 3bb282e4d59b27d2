"""Rules that differ from the derivative of their function and are not wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gradscope.records import Verdict
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


def identity(x: Any) -> Any:
    return x


def heaviside(x: Any) -> Any:
    return (x > 0).astype(x.dtype)


def quantized(x: Any, s: Any) -> Any:
    return jnp.round(jnp.clip(x / s, -4, 3)) * s


def learned_step(r: Any, g: Any) -> Any:
    """LSQ, arXiv:1902.08153: the step size too gets a derivative past the rounding."""
    x, s = r
    inside = (x / s > -4) & (x / s < 3)
    outside = jnp.clip(jnp.round(x / s), -4, 3)
    return g * inside, jnp.sum(g * jnp.where(inside, jnp.round(x / s) - x / s, outside))


def normalized(r: Any, g: Any) -> Any:
    return (g / (jnp.linalg.norm(g) + 1e-6),)


MEANT: dict[str, tuple[Any, Any, str]] = {
    "gradient reversal": (identity, lambda r, g: (-g,), "a gradient reversal"),
    "scaled reversal": (identity, lambda r, g: (-0.3 * g,), "a gradient reversal"),
    "gradient scaling": (identity, lambda r, g: (0.1 * g,), "0.1 times the incoming gradient"),
    "gradient clipping": (identity, lambda r, g: (jnp.clip(g, -0.1, 0.1),), "unchanged"),
    "gradient normalization": (identity, normalized, "unchanged"),
    "a stopped gradient": (identity, lambda r, g: (jnp.zeros_like(g),), "unchanged"),
    "activity penalty": (identity, lambda r, g: (g + 0.1 * r[0],), "unchanged"),
    "straight-through rounding": (lambda x: jnp.round(x), lambda r, g: (g,), "surrogate"),
    "straight-through sign": (jnp.sign, lambda r, g: (g * (jnp.abs(r[0]) < 1),), "surrogate"),
    "straight-through clip": (lambda x: jnp.clip(x, -0.5, 0.5), lambda r, g: (g,), "surrogate"),
    "fake int8": (
        lambda x: (x * 10).astype(jnp.int8).astype(jnp.float32) / 10,
        lambda r, g: (g,),
        "surrogate",
    ),
    "surrogate spike": (heaviside, lambda r, g: (g / (1 + 10 * jnp.abs(r[0])) ** 2,), "surrogate"),
    "membrane with a spike": (
        lambda v: 0.9 * v * (1 - heaviside(v)),
        lambda r, g: (0.9 * g * (1 - heaviside(r[0]) - r[0] / (1 + jnp.abs(r[0])) ** 2),),
        "through a jump",
    ),
    "guided backpropagation": (
        lambda x: jnp.maximum(x, 0),
        lambda r, g: (jnp.where(r[0] > 0, jnp.maximum(g, 0), 0),),
        "not linear in the incoming gradient",
    ),
    "a clipped layer": (
        jnp.sin,
        lambda r, g: (jnp.clip(g * jnp.cos(r[0]), -0.5, 0.5),),
        "for small gradients it is right",
    ),
    "nearest codebook row": (
        lambda x: jnp.eye(6)[jnp.argmax(jnp.abs(x))] * 2.0,
        lambda r, g: (g,),
        "surrogate",
    ),
    "vector quantization": (
        lambda x: 2 * x + lax.stop_gradient(jnp.round(x) - x),
        lambda r, g: (1.5 * g,),
        "jump",
    ),
}


BATCHED = ("scaled reversal", "gradient normalization", "straight-through sign", "membrane with a spike")


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("kind", "batched"), [(kind, False) for kind in MEANT] + [(kind, True) for kind in BATCHED]
)
def test_a_rule_that_is_meant_to_differ_cannot_be_judged(kind: str, batched: bool) -> None:
    function, backward, said = MEANT[kind]
    ruled = with_vjp(function, backward)
    found = one(check(jax.vmap(ruled) if batched else ruled, normal(4, 6) if batched else normal(6)))
    assert found.verdict is CANNOT
    assert said in found.reason


def test_a_learned_quantization_step_cannot_be_judged() -> None:
    checks = check(with_vjp(quantized, learned_step), 2 * normal(20), jnp.float32(0.3))
    assert [(c.argument, c.verdict) for c in checks] == [("x", CANNOT), ("s", CANNOT)]


def test_a_tangent_that_is_meant_to_differ_cannot_be_judged_either() -> None:
    reversal = with_jvp(identity, lambda p, t: -t[0])
    rounding = with_jvp(lambda x: jnp.round(x), lambda p, t: t[0])
    assert "a gradient reversal" in one(check(reversal, normal(6))).reason
    assert "surrogate" in one(check(rounding, normal(6))).reason


def test_a_tap_whose_sink_gets_statistics_is_no_wrong_rule() -> None:
    tap = with_vjp(lambda x, sink: x, lambda r, g: (g, jnp.sum(g * g)))
    checks = check(tap, normal(6), jnp.float32(0))
    assert [c.verdict for c in checks] == [RIGHT, CANNOT]


def test_zero_for_labels_and_masks_that_no_parameter_reaches_is_fine() -> None:
    def entropy(logits: Any, labels: Any, mask: Any) -> Any:
        return -jnp.sum(labels * jax.nn.log_softmax(logits), axis=-1) * mask

    ruled = with_vjp(
        entropy,
        lambda r, g: ((jax.nn.softmax(r[0]) - r[1]) * (g * r[2])[:, None], jnp.zeros_like(r[1]), None),
    )
    labels = jax.nn.one_hot(jnp.arange(4), 5)
    checks = rules_of(lambda p, b: jnp.mean(ruled(p, b[0], b[1])), normal(4, 5), (labels, jnp.ones(4)))
    assert [(c.argument, c.verdict) for c in checks] == [("logits", RIGHT)]


def test_a_stopped_target_needs_no_cotangent() -> None:
    ruled = with_vjp(lambda x, y: (x - y) ** 2, lambda r, g: (2 * g * (r[0] - r[1]), None))

    def loss(p: Any) -> Any:
        return jnp.sum(ruled(p, lax.stop_gradient(jnp.tanh(p) * 2)))

    assert [(c.argument, c.verdict) for c in rules_of(loss, normal(5))] == [("x", RIGHT)]

    def live(p: Any) -> Any:
        return jnp.sum(ruled(p, jnp.tanh(p) * 2))

    assert one(rules_of(live, normal(5)), "y").verdict is WRONG


def test_a_second_result_that_the_loss_does_not_use_needs_no_cotangent() -> None:
    def normed(x: Any) -> Any:
        top = jax.scipy.special.logsumexp(x)
        return jnp.exp(x - top), top

    def backward(r: Any, g: Any) -> Any:
        y = normed(r[0])[0]
        return (y * (g[0] - jnp.sum(g[0] * y)),)

    ruled = with_vjp(normed, backward)

    def used(p: Any) -> Any:
        return (jnp.sum(ruled(p)[0] ** 2), ruled(p)[1])

    assert one(rules_of(used, normal(5))).verdict is RIGHT
    assert one(rules_of(lambda p: jnp.sum(ruled(p)[0] ** 2) + ruled(p)[1], normal(5))).verdict is WRONG


def test_a_rule_that_nothing_is_differentiated_through_says_so() -> None:
    ruled = with_vjp(jnp.sin, lambda r, g: (g,))
    (found,) = rules_of(lambda p, b: jnp.sum(p * ruled(b)), normal(5), normal(5, seed=1))
    assert (found.verdict, found.argument) == (CANNOT, "")
    assert "no parameter reaches" in found.reason
    (found,) = rules_of(lambda p: jnp.sum(p) + lax.stop_gradient(jnp.sum(ruled(p))), normal(5))
    assert "no gradient from its result" in found.reason


def fixed_point(a: Any, x: Any, steps: float = 1e-6) -> Any:
    def going(c: Any) -> Any:
        return jnp.max(jnp.abs(c[0] - c[1])) > steps

    def step(c: Any) -> Any:
        return jnp.tanh(a @ c[0] + x), c[0]

    return lax.while_loop(going, step, (jnp.tanh(x), x * 0 - 9))[0]


def implicit(solve: Any, r: Any, g: Any) -> Any:
    a, x = r
    z = solve(a, x)
    d = 1 - jnp.tanh(a @ z + x) ** 2
    u = jnp.linalg.solve((jnp.eye(len(x)) - d[:, None] * a).T, g)
    return jnp.outer(u * d, z), u * d


A = 0.3 * normal(4, 4) / 2


def test_an_implicit_derivative_of_a_solver_is_confirmed_by_differences() -> None:
    def solve(a: Any, x: Any) -> Any:
        return fixed_point(a, x)

    checks = check(with_vjp(solve, partial(implicit, solve)), A, normal(4, seed=2))
    assert [c.verdict for c in checks] == [RIGHT, RIGHT]


def unrolled(a: Any, x: Any) -> Any:
    return lax.fori_loop(0, 3, lambda i, z: jnp.tanh(a @ z + x), jnp.zeros_like(x))


@pytest.mark.parametrize("solve", [partial(fixed_point, steps=0.3), unrolled])
def test_a_solver_that_stops_early_is_not_wrong(solve: Any) -> None:
    def loosely(a: Any, x: Any) -> Any:
        return solve(5 * a, x)

    def backward(r: Any, g: Any) -> Any:
        left, right = implicit(lambda a, x: solve(a, x), (5 * r[0], r[1]), g)
        return 5 * left, right

    checks = check(with_vjp(loosely, backward), A, normal(4, seed=2))
    assert WRONG not in [c.verdict for c in checks]
    assert any("implicit differentiation" in c.reason for c in checks)


def test_a_recurrent_scan_is_no_solver() -> None:
    def recur(w: Any, xs: Any) -> Any:
        return lax.scan(lambda h, x: (jnp.tanh(w * h + x), None), jnp.zeros(4), xs)[0]

    ruled = with_vjp(recur, lambda r, g: (jax.vjp(recur, *r)[1](g)[0] / 2, jax.vjp(recur, *r)[1](g)[1]))
    checks = check(ruled, normal(4), normal(6, 4))
    assert [(c.argument, c.verdict) for c in checks] == [("w", WRONG), ("xs", RIGHT)]


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, RIGHT), (0.5, RIGHT), (1.0, RIGHT), (2.0, WRONG)])
def test_any_slope_between_the_sides_of_a_kink_is_right(slope: float, verdict: Verdict) -> None:
    x = normal(9).at[jnp.array([1, 4])].set(0.0)

    def backward(r: Any, g: Any) -> Any:
        return (g * jnp.where(r[0] == 0, slope, r[0] > 0),)

    assert one(check(with_vjp(lambda x: jnp.maximum(x, 0), backward), x)).verdict is verdict


def test_a_safe_rule_where_the_plain_derivative_is_nan_is_right() -> None:
    def norm(x: Any) -> Any:
        return jnp.sqrt(jnp.sum(x * x, axis=-1))

    def backward(r: Any, g: Any) -> Any:
        size = norm(r[0])[..., None]
        return (g[..., None] * r[0] / jnp.where(size == 0, 1, size),)

    found = one(check(with_vjp(norm, backward), normal(5, 3).at[2].set(0.0)))
    assert found.verdict is RIGHT
    assert "not compared in 3 elements" in found.reason


def test_a_stable_rule_for_an_unstable_function_is_right() -> None:
    def softplus(x: Any) -> Any:
        return jnp.where(x > 30, x, jnp.log1p(jnp.exp(x)))

    ruled = with_vjp(softplus, lambda r, g: (g * jax.nn.sigmoid(r[0]),))
    assert one(check(ruled, 40 * normal(30) + 60)).verdict is RIGHT


def test_a_rule_with_a_bounded_slope_at_a_singularity_is_not_wrong() -> None:
    ruled = with_vjp(jnp.log, lambda r, g: (g / jnp.maximum(r[0], 1e-3),))
    found = one(check(ruled, jnp.abs(normal(40)).at[3].set(1e-7)))
    assert found.verdict is CANNOT
    assert "keeps it small" in found.reason


def test_an_approximation_is_right_and_said_to_be_one() -> None:
    exact = partial(jax.nn.gelu, approximate=False)
    close = partial(jax.nn.gelu, approximate=True)
    ruled = with_vjp(exact, lambda r, g: jax.vjp(close, r[0])[1](g))
    found = one(check(ruled, 2 * normal(500)))
    assert found.verdict is RIGHT
    assert 0 < found.relative_error < 0.01


def test_a_reversible_block_that_recomputes_its_input_is_right() -> None:
    def block(w: Any, a: Any, b: Any) -> Any:
        y = a + jnp.tanh(b @ w)
        return y, b + jnp.sin(y @ w)

    ruled = jax.custom_vjp(block)

    def backward(r: Any, g: Any) -> Any:
        w, y, z = r
        b = z - jnp.sin(y @ w)
        a = y - jnp.tanh(b @ w)
        return jax.vjp(block, w, a, b)[1](g)

    ruled.defvjp(lambda w, a, b: (block(w, a, b), (w, *block(w, a, b))), backward)
    for dtype in ("float32", "bfloat16"):
        args = [jnp.asarray(v, dtype) for v in (normal(4, 4), normal(3, 4), normal(3, 4, seed=1))]
        assert [c.verdict for c in check(ruled, *args)] == [RIGHT] * 3


def test_integers_static_arguments_and_dictionaries_have_no_verdict_or_their_own() -> None:
    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def mixed(power: int, params: Any, index: Any, x: Any) -> Any:
        return params["w"][index] * x**power + params["b"]

    def forward(power: int, params: Any, index: Any, x: Any) -> Any:
        return mixed(power, params, index, x), (params, index, x)

    def backward(power: int, r: Any, g: Any) -> Any:
        params, index, x = r
        w = jnp.zeros_like(params["w"]).at[index].add(g * x**power)
        return {"w": w, "b": g * 2}, None, g * params["w"][index] * power * x ** (power - 1)

    mixed.defvjp(forward, backward)
    index = jnp.array([0, 2, 1])

    def loss(p: Any) -> Any:
        return jnp.sum(mixed(3, p["in"], index, p["x"]) ** 2)

    params = {"in": {"w": normal(3), "b": normal(3, seed=2)}, "x": normal(3, seed=1)}
    checks = rules_of(loss, params)
    assert {c.argument: (c.verdict, c.ratio and round(c.ratio, 3)) for c in checks} == {
        "params['w']": (RIGHT, 1.0),
        "params['b']": (WRONG, 2.0),
        "x": (RIGHT, 1.0),
    }


def test_symbolic_zeros_and_defjvps_are_understood() -> None:
    ruled = jax.custom_vjp(lambda x, y: x * y)

    def forward(x: Any, y: Any) -> Any:
        assert not y.perturbed, "only x is differentiated"
        return x.value * y.value, y.value

    ruled.defvjp(forward, lambda y, g: (g * y, None), symbolic_zeros=True)
    assert one(rules_of(lambda p, b: jnp.sum(ruled(p, b)), normal(4), normal(4))).verdict is RIGHT
    pair = jax.custom_jvp(lambda x, y: x * jnp.sin(y))
    pair.defjvps(lambda t, out, x, y: t * jnp.sin(y), lambda t, out, x, y: t * x * jnp.cos(y))
    assert [c.verdict for c in check(pair, normal(4), normal(4, seed=1))] == [RIGHT, RIGHT]


def test_a_function_that_jax_cannot_differentiate_is_judged_by_differences() -> None:
    def outside(x: Any) -> Any:
        return jax.pure_callback(
            lambda x: (x * x * x).astype(x.dtype), jax.ShapeDtypeStruct(x.shape, x.dtype), x
        )

    right = with_vjp(outside, lambda r, g: (3 * g * r[0] ** 2,))
    wrong = with_vjp(outside, lambda r, g: (g * r[0] ** 2,))
    assert one(check(right, normal(6))).verdict is RIGHT
    found = one(check(wrong, normal(6)))
    assert found.verdict is WRONG
    assert found.ratio == pytest.approx(1 / 3, rel=0.02)


def test_a_result_that_is_nan_cannot_be_judged() -> None:
    found = one(check(with_vjp(jnp.log, lambda r, g: (g / r[0],)), -jnp.abs(normal(3))))
    assert (found.verdict, found.reason) == (CANNOT, "its result is NaN at its operands")


def test_complex_arguments_are_compared_too() -> None:
    args = normal(5) + 1j * normal(5, seed=1)

    def loss(ruled: Any) -> Any:
        return lambda p: jnp.sum(jnp.abs(ruled(p * args)) ** 2)

    right = with_vjp(lambda z: z * z, lambda r, g: (2 * g * r[0],))
    wrong = with_vjp(lambda z: z * z, lambda r, g: (2 * g * jnp.conj(r[0]),))
    assert one(rules_of(loss(right), normal(5, seed=2))).verdict is RIGHT
    assert one(rules_of(loss(wrong), normal(5, seed=2))).verdict is WRONG
