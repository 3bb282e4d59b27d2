"""The derivatives of one call: by its rule, of the function as written, and of that in float64.

For a `custom_vjp` they are the cotangents of the arguments for random cotangents of the results; for a
`custom_jvp` the tangents of the results for a random tangent of one argument at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import JaxprEqn, jaxpr_as_fun
from numpy.typing import NDArray

from gradscope.trace import jaxprs
from gradscope.trace.compiling import Compiled, compile_program, users_errors
from gradscope.trace.forward import Forward
from gradscope.trace.vocabulary import is_real
from gradscope.trace.walk import Path
from gradscope.verification.rules.find import RuleCall

Vector = NDArray[Any]
"""float64 or complex128, one axis."""
Values = list[Any]
Function = Callable[[Values], Values]


class AsWritten(Forward):
    """The function as the user wrote it; rules of functions that it calls stay in force."""

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        del eqn, path
        return False

    def plain(self, eqn: JaxprEqn, values: Values) -> Values:
        return jaxprs.run_equation(eqn, values)


class InFloat64(Forward):
    """The same in float64, without any rule; inside `jax.enable_x64` only."""

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        del eqn, path
        return True

    def plain(self, eqn: JaxprEqn, values: Values) -> Values:
        if not any(jnp.issubdtype(value.dtype, jnp.inexact) for value in values):
            # Random bits become floats by their layout: they are drawn as written, and widened afterwards.
            return [widened(out) for out in jaxprs.run_equation(eqn, values)]
        return jaxprs.run_widened(eqn, values)

    def constant(self, atom: Any) -> Any:
        return widened(jnp.asarray(atom.val, atom.aval.dtype))


def widened(value: Any) -> Any:
    """The value in float64 or complex128, where it is floating."""
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return value
    return jnp.asarray(value, jaxprs.wide_dtype(value.dtype))


def as_written(call: RuleCall) -> Function:
    return lambda operands: AsWritten().run(call.rule.body, operands, None)[0]


def in_float64(call: RuleCall) -> Function:
    body = call.rule.body

    def function(operands: Values) -> Values:
        consts = [widened(jnp.asarray(each)) for each in body.consts]
        return InFloat64().run(jaxprs.Body(body.jaxpr, consts), [widened(v) for v in operands], None)[0]

    return function


def by_rule(call: RuleCall) -> Function:
    run = jaxprs.alone(call.eqn)
    return lambda operands: run(*operands)


@dataclass(frozen=True)
class DerivativeRequest:
    """Which derivative of a call is taken: of these results, by these operands."""

    call: RuleCall
    wanted: tuple[int, ...]
    """Results that get a cotangent, or whose tangent is compared."""
    by: tuple[int, ...]
    """Operands."""

    @property
    def reverse(self) -> bool:
        return self.call.rule.kind == "custom_vjp"

    def seeds(self, operands: Values, random: np.random.Generator) -> list[Vector]:
        """Random cotangents for the wanted results, or random tangents of the operands."""
        if self.reverse:
            avals: list[Any] = [self.call.eqn.outvars[i].aval for i in self.wanted]
            return [drawn(random, aval.shape, aval.dtype) for aval in avals]
        return [drawn(random, operands[i].shape, operands[i].dtype) for i in self.by]

    def derivative(self, function: Function) -> Callable[[Values, Values], tuple[Values, list[Values]]]:
        """Traceable: the wanted results, and by operand its cotangent or the tangents of the results."""

        def outputs(operands: Values, moving: Values) -> Values:
            at = dict(zip(self.by, moving, strict=True))
            outs = function([at.get(i, value) for i, value in enumerate(operands)])
            return [outs[i] for i in self.wanted]

        def pulled(operands: Values, seeds: Values) -> tuple[Values, list[Values]]:
            moving = [operands[i] for i in self.by]
            outs, pull = jax.vjp(lambda moving: outputs(operands, moving), moving)
            seeds = [jnp.asarray(seed, out.dtype) for seed, out in zip(seeds, outs, strict=True)]
            return outs, [[cotangent] for cotangent in pull(seeds)[0]]

        def pushed(operands: Values, seeds: Values) -> tuple[Values, list[Values]]:
            moving, found, outs = [operands[i] for i in self.by], [], []
            for number, seed in enumerate(seeds):
                tangents = [jnp.zeros_like(value) for value in moving]
                tangents[number] = jnp.asarray(seed, moving[number].dtype)
                outs, tangent = jax.jvp(lambda moving: outputs(operands, moving), (moving,), (tangents,))
                found.append(tangent)
            return outs, found

        return pulled if self.reverse else pushed


def drawn(random: np.random.Generator, shape: Sequence[int], dtype: Any) -> Vector:
    values = np.asarray(random.standard_normal(tuple(shape)))
    if jnp.issubdtype(dtype, jnp.complexfloating):
        values = values + 1j * random.standard_normal(tuple(shape))
    return np.asarray(values.astype(dtype))


def vector(parts: Sequence[Any]) -> Vector:
    """Arrays of any shape and precision as one vector."""
    arrays = [np.asarray(part) for part in parts]
    flat = [each.astype(jaxprs.wide_dtype(each.dtype)).ravel() for each in arrays]
    return np.concatenate(flat) if flat else np.zeros(0)


def changes(
    function: Function, wanted: Sequence[int], operand: int
) -> Callable[[Values, Any, Values, Array], tuple[Array, Array]]:
    """Traceable: what `weights · results` changes by at each step ahead and behind along a direction.

    And the size of the numbers that were subtracted, which says how much of a change is rounding.
    """

    def along(operands: Values, direction: Any, weights: Values, steps: Array) -> tuple[Array, Array]:
        def outputs(step: Any) -> Values:
            moved = list(operands)
            moved[operand] = moved[operand] + jnp.asarray(step * direction, moved[operand].dtype)
            outs = function(moved)
            return [_wider(outs[i]) for i in wanted]

        here = outputs(jnp.zeros((), steps.dtype))

        def change(step: Any) -> Any:
            parts = [
                jnp.sum(jnp.real(weight * (now - before)))
                for weight, now, before in zip(weights, outputs(step), here, strict=True)
            ]
            return sum(parts)

        sizes = [jnp.sum(jnp.abs(weight * before) ** 2) for weight, before in zip(weights, here, strict=True)]
        return lax.map(change, jnp.concatenate([steps, -steps])), jnp.sqrt(sum(sizes))

    return along


def _wider(value: Array) -> Array:
    return value if value.dtype.itemsize >= _SINGLE else value.astype(jnp.float32)


_SINGLE = 4


class Programs:
    """Compiles what it runs; programs that do the same are compiled once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], Compiled] = {}

    def run(self, function: Callable[..., Any], *args: Any, wide: bool = False) -> Any:
        """The results of `function`.

        Raises `GradscopeError` for what the user's code raises and for what JAX cannot differentiate,
        `NotEnoughMemory` among them, and `CannotWiden` for what has no float64.
        """
        with _precision(wide):
            with users_errors("differentiating a custom rule"):
                closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
            flat = [jnp.asarray(leaf) for leaf in jax.tree_util.tree_leaves(args)]
            text = jaxprs.shared_text(closed)
            program = self._known.get((text, wide)) if text is not None else None
            if program is None:
                program = compile_program(jaxpr_as_fun(closed), tuple(flat), runs=1)
            if text is not None:
                self._known[text, wide] = program
            outs = program(*flat)
        return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(shapes), outs)


def _precision(wide: bool) -> AbstractContextManager[Any]:
    return jax.enable_x64(True) if wide else nullcontext()


def precision_of(dtype: Any) -> float:
    """The relative size of a rounding."""
    info: Any = jnp.finfo
    return float(info(dtype).eps)


def real_results(call: RuleCall) -> tuple[int, ...]:
    return tuple(i for i, var in enumerate(call.eqn.outvars) if is_real(var.aval))
