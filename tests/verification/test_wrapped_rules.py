"""A rule that a library wraps, as `equinox.filter_custom_vjp` does, is told of as the user's own function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.rules.correctness.wrong_gradient import wrong_gradient
from gradscope.verification.verify import Verified
from tests.verification.made import UNSURE, WRONG, normal, run

Act = Callable[[Any], Any]


def by_jax() -> Act:
    @jax.custom_vjp
    def swish(x: Any) -> Any:
        return x * jax.nn.sigmoid(x)

    swish.defvjp(lambda x: (swish(x), x), lambda x, g: (g * jax.nn.sigmoid(x),))
    return swish


def by_equinox() -> Act:
    @eqx.filter_custom_vjp
    def swish(x: Any) -> Any:
        return x * jax.nn.sigmoid(x)

    @swish.def_fwd
    def forward(perturbed: Any, x: Any) -> Any:
        return swish(x), None

    @swish.def_bwd
    def backward(residuals: Any, g: Any, perturbed: Any, x: Any) -> Any:
        return g * jax.nn.sigmoid(x)

    return swish


def verified(swish: Act) -> Verified:
    rng = np.random.default_rng(0)
    params = {"a": normal(rng, 4, 8), "b": normal(rng, 8, 1)}

    def loss(params: Any, x: Any) -> Any:
        return jnp.mean((swish(x @ params["a"]) @ params["b"] - 1.0) ** 2)

    return run(Problem(loss, params, normal(rng, 16, 4, scale=1.0)))


@pytest.mark.parametrize("wrapped", [by_jax, by_equinox])
def test_a_wrong_rule_is_one_error_in_the_users_words(wrapped: Callable[[], Act]) -> None:
    found = verified(wrapped())
    (rule,) = found.custom_rules
    assert (rule.function, rule.argument, rule.verdict) == ("swish", "x", WRONG)
    first = next(check for check in found.gradients if check.parameter == "a")
    assert (first.verdict, first.cause, first.source) == (WRONG, "custom-rule", rule.source)
    (hit,) = wrong_gradient.check(found.record, dict(wrong_gradient.limits))
    assert hit.layer == first.layer
    assert "in the rule of `swish`" in hit.remedy
    assert found.transposition.verdict is UNSURE
    assert "`swish`" in found.transposition.reason


def test_the_leaves_of_the_first_argument_are_named_after_it() -> None:
    @eqx.filter_custom_vjp
    def product(factors: Any, offset: Any) -> Any:
        return factors["left"] * factors["right"] + offset

    @product.def_fwd
    def forward(perturbed: Any, factors: Any, offset: Any) -> Any:
        return product(factors, offset), None

    @product.def_bwd
    def backward(residuals: Any, g: Any, perturbed: Any, factors: Any, offset: Any) -> Any:
        return {"left": g * factors["right"], "right": 2 * g * factors["left"]}

    params = {"left": jnp.arange(1.0, 4.0), "right": jnp.ones(3)}
    found = run(Problem(lambda p, x: jnp.sum(product(p, x) ** 2), params, jnp.ones(3)))
    assert {rule.argument for rule in found.custom_rules} == {"factors['left']", "factors['right']"}
    wrong = [rule.argument for rule in found.custom_rules if rule.verdict is WRONG]
    assert wrong == ["factors['right']"]
