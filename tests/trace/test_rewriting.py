"""A program without its `stop_gradient`: the same values, and the gradient that was kept back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import jaxpr_as_fun

from gradscope.trace.jaxprs import Body, RuleKey, all_equations, body_of, custom_rule, inner_bodies
from gradscope.trace.jaxprs.rewriting import with_functions, without_custom_rules, without_stop_gradient

stop = lax.stop_gradient


def scanned(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 3)[0]


PROGRAMS: dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]] = {
    "plain": lambda cut: lambda x: jnp.sin(cut(x)) * x,
    "jit": lambda cut: lambda x: jax.jit(lambda y: jnp.sin(cut(y)) + y)(x),
    "scan": lambda cut: scanned(lambda x: jnp.sin(cut(x)) + 0.5 * x),
    "scan of jit": lambda cut: scanned(jax.jit(lambda x: jnp.sin(cut(x)))),
    "vmap": lambda cut: lambda x: jax.vmap(lambda y: cut(y) * y)(x * jnp.arange(3.0)).sum(),
    "remat": lambda cut: jax.checkpoint(lambda x: jnp.sin(cut(x)) * x),
    "cond": lambda cut: lambda x: lax.cond(x > 0, lambda y: cut(y) ** 2, lambda y: y, x),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_differentiates_as_if_nothing_were_stopped(name: str) -> None:
    cut, free = PROGRAMS[name](stop), PROGRAMS[name](lambda x: x)
    body = body_of(jax.make_jaxpr(cut)(0.7))

    def through(x: Any) -> Any:
        changed = without_stop_gradient(body)
        outs = jax.core.eval_jaxpr(changed.jaxpr, changed.consts, x)
        return outs[0]

    assert through(0.7) == cut(0.7)
    np.testing.assert_allclose(jax.grad(through)(0.7), jax.grad(free)(0.7), rtol=1e-6)
    assert jax.grad(through)(0.7) != jax.grad(cut)(0.7)


def test_the_program_itself_stays_as_it_was() -> None:
    closed = jax.make_jaxpr(lambda x: scanned(lambda c: stop(jnp.sin(c)) * x)(x))(0.7)
    run = jaxpr_as_fun(closed)
    before = jax.grad(lambda x: run(x)[0])(0.7)
    without_stop_gradient(body_of(closed))
    assert jax.grad(lambda x: run(x)[0])(0.7) == before


def test_the_rule_of_a_softmax_is_left_alone() -> None:
    def f(x: Any) -> Any:
        return jax.nn.softmax(x)[0]

    x = jnp.array([0.3, 1.0, -2.0])
    body = without_stop_gradient(body_of(jax.make_jaxpr(f)(x)))
    through = jax.grad(lambda x: jax.core.eval_jaxpr(body.jaxpr, body.consts, x)[0])(x)
    np.testing.assert_allclose(through, jax.grad(f)(x), rtol=1e-6)


@jax.custom_vjp
def doubled(x: Any) -> Any:
    return jnp.sin(x)


doubled.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (2 * g * jnp.cos(x),))


@jax.custom_jvp
def halved(x: Any) -> Any:
    return jnp.sin(x)


halved.defjvp(lambda primals, tangents: (jnp.sin(primals[0]), tangents[0] * jnp.cos(primals[0]) / 2))


def keys_of(body: Body) -> set[RuleKey]:
    rules = {eqn: custom_rule(eqn) for eqn in body.eqns}
    inner = [keys_of(each) for eqn in body.eqns if rules[eqn] is None for each in inner_bodies(eqn)]
    return {rule.key for rule in rules.values() if rule is not None}.union(*inner)


@pytest.mark.few(4)
@pytest.mark.parametrize("rule", [doubled, halved])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_rule_gives_way_to_its_own_function(name: str, rule: Any) -> None:
    ruled, free = PROGRAMS[name](rule), PROGRAMS[name](jnp.sin)
    body = body_of(jax.make_jaxpr(ruled)(0.7))

    def run(keys: set[RuleKey], x: Any) -> Any:
        changed = without_custom_rules(body, keys)
        return jax.core.eval_jaxpr(changed.jaxpr, changed.consts, x)[0]

    keys = keys_of(body)
    assert {key.function for key in keys} == {rule.__name__}
    assert run(keys, 0.7) == ruled(0.7)
    found = jax.grad(lambda x: run(keys, x))(0.7)
    np.testing.assert_allclose(found, jax.grad(free)(0.7), rtol=1e-6)
    of_the_same_name = {key._replace(line=key.line + 1) for key in keys}
    assert jax.grad(lambda x: run(of_the_same_name, x))(0.7) == jax.grad(ruled)(0.7)


@pytest.mark.few(3)
@pytest.mark.parametrize("name", PROGRAMS)
def test_another_function_stands_in_the_place_of_an_equation(name: str) -> None:
    body = body_of(jax.make_jaxpr(PROGRAMS[name](jnp.tanh))(0.7))
    tanhs = [eqn for top in body.eqns for eqn in all_equations(top) if eqn.primitive.name == "tanh"]
    changed = with_functions(body, {id(eqn): lambda x: 2 * jnp.cos(x) for eqn in tanhs})

    def through(x: Any) -> Any:
        return jax.core.eval_jaxpr(changed.jaxpr, changed.consts, x)[0]

    meant = PROGRAMS[name](lambda x: 2 * jnp.cos(x))
    np.testing.assert_allclose(through(0.7), meant(0.7), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(through)(0.7), jax.grad(meant)(0.7), rtol=1e-6)
