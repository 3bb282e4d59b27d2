"""Wrong gradients are found: by how much, in which leaf, in whatever the rule is wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.load.problem import Problem
from tests.verification.made import RIGHT, UNSURE, WRONG, Act, mlp, normal, recurrent, ruled, run, verdicts

CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "1.01 times": lambda x, g: 1.01 * g,
    "2 times": lambda x, g: 2 * g,
    "the other sign": lambda x, g: -g,
    "a missing term": lambda x, g: jnp.where(x > 0, g, 0.9 * g),
    "zero": lambda x, g: 0 * g,
}
WRAPS: dict[str, Callable[[Act], Act]] = {
    "jit": jax.jit,
    "vmap": jax.vmap,
    "remat": jax.checkpoint,
    "cond": lambda act: lambda x: lax.cond(x.sum() > -1e9, act, jnp.tanh, x),
    "scan": lambda act: lambda x: lax.scan(lambda c, _: (act(c), None), x, length=2)[0],
}
BELOW = {"[0].w", "[0].b", "[1].w", "[1].b"}
"""The leaves whose gradient passes through the rule."""


def wrong_leaves(problem: Problem) -> set[str]:
    return {name for name, check in verdicts(problem).items() if check.verdict is WRONG}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_rule_is_found_in_every_leaf_below_it_and_in_no_other(name: str) -> None:
    found = verdicts(mlp(ruled(CHANGES[name])))
    wrong = {leaf for leaf, check in found.items() if check.verdict is WRONG}
    # Two signs turned are none: the first layer stands below two of these rules.
    assert wrong == ({"[1].w", "[1].b"} if name == "the other sign" else BELOW)
    assert {check.verdict for leaf, check in found.items() if leaf not in wrong} == {RIGHT}
    assert all("custom derivative rule of `act`" in found[leaf].reason for leaf in wrong)
    assert {found[leaf].cause for leaf in wrong} == {"custom-rule"}


@pytest.mark.few(2)
@pytest.mark.parametrize("wrap", WRAPS)
def test_it_is_found_inside(wrap: str) -> None:
    assert wrong_leaves(mlp(WRAPS[wrap](ruled(CHANGES["2 times"])))) == BELOW


@pytest.mark.few(1)
@pytest.mark.parametrize("change", ["2 times", "the other sign", "zero"])
def test_it_is_found_in_a_model_that_pins_float32(change: str) -> None:
    found = verdicts(mlp(ruled(CHANGES[change]), pinned=jnp.float32))
    assert {check.dtype for check in found.values()} == {"float32"}
    assert found["[1].w"].verdict is WRONG
    assert found["[2].w"].verdict is RIGHT


def test_one_percent_is_found_in_float32() -> None:
    assert "[1].w" in wrong_leaves(mlp(ruled(CHANGES["1.01 times"]), pinned=jnp.float32))


def test_a_large_error_is_found_in_bfloat16() -> None:
    found = verdicts(mlp(ruled(CHANGES["2 times"]), pinned=jnp.bfloat16, width=32))
    assert any(check.verdict is WRONG for check in found.values())
    assert found["[2].w"].verdict is not WRONG


@pytest.mark.few(1)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_loss_does_not_matter(scale: float) -> None:
    assert wrong_leaves(mlp(ruled(CHANGES["1.01 times"]), scale=scale)) == BELOW


@pytest.mark.few(1)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_seed_does_not_matter(seed: int) -> None:
    assert wrong_leaves(mlp(ruled(CHANGES["1.01 times"]), seed=seed)) == BELOW


def test_it_is_found_in_parameters_of_bfloat16() -> None:
    assert wrong_leaves(mlp(ruled(CHANGES["1.01 times"]), params_in=jnp.bfloat16)) == BELOW


def test_a_recurrent_net_with_a_wrong_gate_is_wrong_up_to_the_gate() -> None:
    problem = recurrent(0, ruled(CHANGES["1.01 times"], jax.nn.sigmoid))
    assert wrong_leaves(problem) == {"w", "b"}


def test_one_number_beside_a_hundred_thousand_is_found() -> None:
    rng = np.random.default_rng(0)
    act = ruled(CHANGES["1.01 times"], jnp.exp)

    def loss_fn(params: Any, x: Any) -> Any:
        return jnp.mean((x @ params["big"] * act(params["scale"])) ** 2)

    params = {"big": normal(rng, 500, 200), "scale": np.float32(0.3)}
    found = verdicts(Problem(loss_fn, params, normal(rng, 8, 500, scale=1.0)))
    assert found["big"].verdict is RIGHT
    assert found["scale"].verdict is WRONG
    assert found["scale"].ratio == pytest.approx(1.01, rel=1e-6)


def test_one_wrong_element_is_found_when_it_is_looked_at() -> None:
    """Its share of the leaf's gradient is below what counts as wrong for the leaf."""

    @jax.custom_vjp
    def same(w: Any) -> Any:
        return w * 1.0

    same.defvjp(lambda w: (w, None), lambda _, g: (g.at[3].multiply(1.5),))
    problem = Problem(lambda p, x: jnp.sum(same(p["w"]) ** 2 * x), {"w": np.ones(8)}, np.ones(8))
    found = run(problem, per_element=8)
    assert [e.index for e in found.elements if e.verdict is not RIGHT] == [(3,)]


def test_the_ratio_is_said_where_there_is_one() -> None:
    found = verdicts(mlp(ruled(CHANGES["2 times"])))
    assert found["[1].w"].ratio == pytest.approx(2, rel=1e-6)
    assert found["[0].w"].ratio == pytest.approx(4, rel=1e-6)
    assert found["[1].w"].reason.startswith("2 times the finite differences, in every direction")
    assert verdicts(mlp(ruled(CHANGES["a missing term"])))["[0].w"].ratio is None


def test_a_wrong_rule_is_not_excused_by_a_stop_gradient_elsewhere() -> None:
    base = mlp(ruled(CHANGES["2 times"]))

    def loss_fn(params: Any, batch: Any) -> Any:
        first = params[0]["w"]
        return base.loss_fn(params, batch) + 0.01 * jnp.sum(lax.stop_gradient(first) * first)

    found = verdicts(Problem(loss_fn, base.params, next(base.batches())))
    assert {name for name, check in found.items() if check.verdict is WRONG} == BELOW
    assert UNSURE not in {check.verdict for check in found.values()}


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_a_rule_around_a_function_without_a_derivative_is_judged(factor: float) -> None:
    """Taken out of the program to find the reason, it leaves a callback that nothing can differentiate."""

    def act(x: Any) -> Any:
        return jax.pure_callback(lambda x: np.tanh(np.asarray(x)), jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    ruled = jax.custom_vjp(act)
    ruled.defvjp(lambda x: (act(x), x), lambda x, g: (factor * g * (1 - jnp.tanh(x) ** 2),))
    found = run(mlp(ruled))
    wrong = {check.parameter: check.cause for check in found.gradients if check.verdict is WRONG}
    assert wrong == (dict.fromkeys(BELOW, "custom-rule") if factor == 0.5 else {})
    assert {check.verdict for check in found.custom_rules} == {WRONG if factor == 0.5 else RIGHT}


def test_forward_mode_of_a_custom_vjp_is_not_judged_and_names_it() -> None:
    mode = run(mlp(ruled(CHANGES["2 times"]))).transposition
    assert mode.verdict is UNSURE
    assert "`act` has a custom_vjp" in mode.reason
