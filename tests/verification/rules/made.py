"""Makes a loss around one function with a rule, and checks the rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem
from gradscope.records import RuleCheck, Verdict
from gradscope.trace.program import Tracer
from gradscope.verification.rules import check_rules

RIGHT, WRONG, CANNOT = Verdict.RIGHT, Verdict.WRONG, Verdict.CANNOT_JUDGE


def rules_of(loss: Callable[..., Any], params: Any, batch: Any = None, seed: int = 0) -> list[RuleCheck]:
    problem = Problem(loss, params, batch)
    tracer = Tracer(problem)
    first = next(iter(problem.batches()))
    found = check_rules(tracer.trace(first), tracer.inputs(first), seed=seed)
    return [rule.check for rule in found]


def with_vjp(function: Callable[..., Any], backward: Callable[..., Any], **options: Any) -> Any:
    """`function` with a `custom_vjp` that keeps its arguments; `backward(arguments, g)` is its other half."""
    ruled = jax.custom_vjp(function, **options)
    ruled.defvjp(lambda *args: (function(*args), args), backward)
    return ruled


def with_jvp(function: Callable[..., Any], tangent: Callable[..., Any]) -> Any:
    ruled = jax.custom_jvp(function)
    ruled.defjvp(lambda primals, tangents: (function(*primals), tangent(primals, tangents)))
    return ruled


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Any:
    return jnp.asarray(rng(seed).normal(size=shape), dtype)


def one(checks: list[RuleCheck], argument: str | None = None) -> RuleCheck:
    (found,) = [check for check in checks if argument is None or check.argument == argument]
    return found


def check(ruled: Any, *args: Any, scale: float = 1.0) -> list[RuleCheck]:
    """All arguments are parameters, and all results reach the loss."""

    def loss(params: Any) -> Any:
        outs = jax.tree_util.tree_leaves(ruled(*params))
        return scale * sum(jnp.sum(jnp.abs(out * _weights(out)) ** 2) for out in outs)

    return rules_of(loss, list(args))


def _weights(out: Any) -> Any:
    return jnp.cos(jnp.arange(out.size).reshape(out.shape))
