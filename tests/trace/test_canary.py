"""What gradscope assumes of JAX's insides without asking: each test says what breaks if JAX changes it."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jax.extend.core import Primitive

import gradscope
from gradscope.trace import jaxprs, vocabulary
from gradscope.trace.nested.registry import kinds

HERE = __file__
ROOMS = ("trace", "measure", "nonfinite", "verification")
IN_ONE_VERSION = frozenset({"closed_call"})
"""Names of primitives that not every supported version of JAX has: 0.10 has it, 0.12 has not."""

FUNCTIONS = vocabulary._ACTIVATIONS
"""Names of functions of `jax.nn`, which some lists have among those of primitives."""


def primitives() -> frozenset[str]:
    """Every primitive that this JAX has, those of its lazily imported parts included."""
    for name in ("jax.scipy.special", "jax.experimental.pallas"):
        importlib.import_module(name)
    return frozenset(each.name for each in gc.get_objects() if isinstance(each, Primitive))


def modules() -> Iterator[ModuleType]:
    root = Path(gradscope.__file__).parent
    for room in ROOMS:
        for found in pkgutil.walk_packages([str(root / room)], f"gradscope.{room}."):
            yield importlib.import_module(found.name)


def lists() -> Iterator[tuple[str, frozenset[str]]]:
    """Every set or table of names at the top of a module."""
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, frozenset | dict) and value and all(isinstance(key, str) for key in value):
                yield f"{module.__name__}.{name}", frozenset(value)


def test_every_listed_primitive_exists() -> None:
    known = primitives()
    assert len(known) > 200
    checked = 0
    for place, names in lists():
        if 2 * len(names & known) >= len(names):
            checked += 1
            missing = names - known - IN_ONE_VERSION - FUNCTIONS
            assert not missing, f"{place} lists what is no primitive: gradscope would never meet it"
    assert checked > 10


def test_every_primitive_that_is_entered_exists() -> None:
    missing = kinds().keys() - primitives() - IN_ONE_VERSION
    assert not missing, "a file of trace/nested/ waits for a primitive that is not there: nothing is entered"


@jax.custom_vjp
def ruled(x: Array) -> Array:
    return jnp.sin(x)


def forward(x: Array) -> tuple[Array, Array]:
    return jnp.sin(x), x


def backward(x: Array, ct: Array) -> tuple[Array]:
    return (ct * jnp.cos(x),)  # the line of the rule


ruled.defvjp(forward, backward)


@jax.custom_jvp
def tangent_ruled(x: Array) -> Array:
    return jnp.sin(x)


tangent_ruled.defjvp(lambda x, t: (jnp.sin(x[0]), t[0] * jnp.cos(x[0])))


def equations(function: Any, *args: Any) -> list[Any]:
    """All equations, those inside others after the one around them."""

    def inside(eqns: Any) -> Iterator[Any]:
        for eqn in eqns:
            yield eqn
            for body in jaxprs.inner_bodies(eqn):
                yield from inside(body.eqns)

    return list(inside(jax.make_jaxpr(function)(*args).jaxpr.eqns))


def line_of(text: str) -> int:
    lines = Path(HERE).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip().startswith(text))


def named(eqns: list[Any], name: str) -> Any:
    return next(eqn for eqn in eqns if eqn.primitive.name == name)


def test_a_users_backward_rule_keeps_its_own_line() -> None:
    body = jaxprs.with_rule_lines(jaxprs.body_of(jax.make_jaxpr(ruled)(1.0)))
    run = jaxprs.as_function(body, body.eqns, list(body.jaxpr.invars), list(body.jaxpr.outvars))
    cosine = named(equations(jax.grad(lambda x: run(x)[0]), 1.0), "cos")
    said = "the origin of a NaN in a backward rule would get the line of the call"
    assert jaxprs.user_locations(cosine)[0] == (HERE, line_of("return (ct * jnp.cos(x),)")), said
    assert jaxprs.rule_of(cosine) is not None, said


def test_a_function_of_jax_that_is_jitted_gets_the_line_of_its_caller() -> None:
    def first(x: Array) -> Array:
        return jax.nn.gelu(x)

    def second(x: Array) -> Array:
        return jax.nn.gelu(x)  # the second call

    equations(first, 1.0)
    outer, *inner = equations(second, 1.0)
    said = "a layer would get the line of whoever called the same function first"
    expected = (HERE, line_of("return jax.nn.gelu(x)  # the second call"))
    assert jaxprs.user_locations(inner[-1], [outer])[0] == expected, said


def test_a_function_says_where_it_is_defined() -> None:
    info = jaxprs.inner_bodies(named(equations(ruled, 1.0), "custom_vjp_call"))
    said = "custom derivative rules would have neither name nor line"
    text = str(next(iter(info)).jaxpr.debug_info.func_src_info)
    assert re.fullmatch(rf"ruled at {re.escape(HERE)}:\d+", text), said


@pytest.mark.parametrize(
    ("function", "name", "parameters"),
    [
        (ruled, "custom_vjp_call", {"bwd", "fwd_jaxpr_thunk", "call_jaxpr"}),
        (tangent_ruled, "custom_jvp_call", {"jvp_jaxpr_fun", "num_consts", "call_jaxpr"}),
    ],
)
def test_a_custom_rule_has_the_parameters_that_are_read(
    function: Any, name: str, parameters: set[str]
) -> None:
    found = named(equations(function, 1.0), name).params
    assert parameters <= found.keys(), "rules of a wrapped function would be taken for a library's"
    rule = found.get("bwd", found.get("jvp_jaxpr_fun"))
    assert hasattr(rule, "call_wrapped"), "a backward rule could not be marked with its line"


def test_equations_of_the_backward_pass_say_so() -> None:
    eqns = equations(jax.grad(lambda x: jnp.sin(x) ** 2), 1.0)
    said = "the origin of a NaN would take the backward pass for the forward one"
    assert any(jaxprs.is_transposed(eqn) for eqn in eqns), said
    assert not jaxprs.is_transposed(named(eqns, "sin")), said


def test_equations_that_are_computed_again_say_so() -> None:
    eqns = equations(jax.grad(jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)))), 1.0)
    assert any(jaxprs.is_rematerialized(eqn) for eqn in eqns), "recomputed values would be taken for new ones"


@pytest.mark.parametrize(
    "file",
    [
        "_src/pjit.py", "_src/lax/lax.py", "_src/numpy/ufuncs.py", "_src/interpreters/partial_eval.py",
        "_src/source_info_util.py", "_src/core.py", "_src/api.py", "_src/api_util.py", "_src/linear_util.py",
        "_src/traceback_util.py", "_src/custom_derivatives.py", "_src/ad_checkpoint.py", "_src/profiler.py",
        "_src/util.py", "_src/nn/functions.py", "_src/scipy/special.py", "_src/ops/special.py", "_src/random",
        "_src/image/scale.py",
    ],
)  # fmt: skip
def test_jax_keeps_its_code_where_it_is_looked_for(file: str) -> None:
    said = "expressions of JAX's own functions would be taken for the user's, or the other way round"
    assert (Path(jax.__file__).parent / file).exists(), said
