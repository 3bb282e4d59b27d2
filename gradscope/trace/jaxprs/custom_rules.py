"""Equations with a derivative rule of their own, and equations run in another precision than written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var, jaxpr_as_fun

from gradscope.trace.jaxprs.locations import is_user_file
from gradscope.trace.jaxprs.programs import Body, body_of, called_body, inner_bodies, is_literal

CUSTOM_RULES = {"custom_jvp_call": "custom_jvp", "custom_vjp_call": "custom_vjp"}
"""By name of the primitive, what the user writes."""


class RuleKey(NamedTuple):
    """What tells one user-written rule from another: two functions of one name are two rules."""

    kind: str
    function: str
    file: str
    line: int


@dataclass(frozen=True)
class CustomRule:
    """A `custom_vjp` or `custom_jvp` as it stands at one equation, perhaps batched by `vmap`."""

    kind: str
    """`custom_vjp` or `custom_jvp`."""
    function: str
    """The function's own name; empty where JAX does not tell."""
    file: str
    line: int
    consts: int
    """Leading operands that the function closes over: a rule has no derivative for them."""
    names: tuple[str | None, ...]
    """Of the other operands: `x`, `p['w']`; `None` where nobody says."""
    body: Body
    """The function as written, without its rule."""

    @property
    def key(self) -> RuleKey:
        return RuleKey(self.kind, self.function, self.file, self.line)


def custom_rule(eqn: JaxprEqn) -> CustomRule | None:
    """The rule of the equation, or `None` for an equation without one."""
    kind = CUSTOM_RULES.get(eqn.primitive.name)
    if kind is None:
        return None
    body = called_body(eqn)
    consts = int(eqn.params.get("num_consts", 0))
    function, file, line = _said(body.jaxpr.debug_info)
    names = _names(eqn, body, len(eqn.invars) - consts)
    if not is_user_file(file):
        wrapped = _wrapped(body, file)
        if wrapped is not None:
            function, file, line = wrapped.co_name, wrapped.co_filename, wrapped.co_firstlineno
            names = _unwrapped_names(names, wrapped.co_varnames[: wrapped.co_argcount])
        else:
            rules = [_said(getattr(eqn.params.get(key), "debug_info", None)) for key in _RULES]
            users = [(function, *rule[1:]) for rule in rules if rule[1] and is_user_file(rule[1])]
            function, file, line = next(iter(users), (function, file, line))
    return CustomRule(kind, function, file, line, consts, names, body)


_RULES = ("bwd", "fwd_jaxpr_thunk", "jvp_jaxpr_fun")


def _said(info: Any) -> tuple[str, str, int]:
    """Name, file and line of a function, from how JAX notes them."""
    text = str(getattr(info, "func_src_info", ""))
    found = re.match(r"(.*) at (.+):(\d+)$", text)
    return (found[1], found[2], int(found[3])) if found else (text, "", 0)


def _wrapped(body: Body, wrapper: str) -> CodeType | None:
    """The user's function that a library's `custom_vjp` calls, as `equinox.filter_custom_vjp` does."""
    for eqn in body.eqns:
        traceback: Any = eqn.source_info.traceback
        users: Any = None
        for code, _ in zip(*traceback.raw_frames(), strict=True) if traceback is not None else ():
            if is_user_file(code.co_filename):
                users = code
            elif users is not None and code.co_filename == wrapper:
                return users  # type: ignore[no-any-return]
        for inner in inner_bodies(eqn):
            found = _wrapped(inner, wrapper)
            if found is not None:
                return found
    return None


def _unwrapped_names(names: Sequence[str | None], parameters: Sequence[str]) -> tuple[str | None, ...]:
    """The wrapper's own name for its first argument gives way to the first parameter of what it wraps.

    The first is the one that `equinox.filter_custom_vjp` differentiates, as a pytree; `None` for the others.
    """
    root = re.match(r"\w*", names[0])[0] if names and names[0] else ""  # type: ignore[index]
    if not root or not parameters:
        return (None,) * len(names)
    return tuple(
        parameters[0] + name.removeprefix(root) if name and re.match(rf"{root}(\W|$)", name) else None
        for name in names
    )


def _names(eqn: JaxprEqn, body: Body, count: int) -> tuple[str | None, ...]:
    """From the function, which `vmap` makes nameless, or from its rule, which may call them otherwise."""
    infos = [body.jaxpr.debug_info]
    infos += [getattr(eqn.params.get(key), "debug_info", None) for key in _RULES[1:]]
    for info, taken in zip(infos, (1, 1, 2), strict=True):
        names = getattr(info, "arg_names", None)
        if names and all(names) and len(names) >= taken * count:
            return tuple(names[-count:] if taken == 1 else names[-2 * count : -count])
    return (None,) * count


def alone(eqn: JaxprEqn) -> Callable[..., list[Any]]:
    """The equation as a function of its operands, each of its own, with its derivative rule in force."""
    reads: list[Any] = [Var(atom.aval) for atom in eqn.invars]
    writes = [Var(var.aval) for var in eqn.outvars]
    info = called_body(eqn).jaxpr.debug_info._replace(
        arg_names=tuple(f"v{i}" for i in range(len(reads))), result_paths=("",) * len(writes)
    )
    jaxpr = Jaxpr([], reads, writes, [eqn.replace(invars=reads, outvars=writes)], eqn.effects, info)
    return jaxpr_as_fun(ClosedJaxpr(jaxpr, []))  # type: ignore[no-any-return]


def shared_text(closed: Any) -> str | None:
    """Equal for programs that do the same; `None` for one with constants inside, which the text hides."""

    def hides(jaxpr: Any) -> bool:
        return any(body.consts or hides(body.jaxpr) for eqn in jaxpr.eqns for body in inner_bodies(eqn))

    return None if closed.consts or hides(closed.jaxpr) else str(closed)


class CannotWiden(Exception):
    """An equation cannot be run in float64."""


def run_widened(eqn: JaxprEqn, values: Sequence[Any]) -> list[Any]:
    """The equation on float64 operands, with every floating dtype among its parameters widened too.

    Raises `CannotWiden` for an equation that carries a program over arrays, or that JAX refuses in float64.
    """
    if any(getattr(v.aval, "ndim", 0) for body in inner_bodies(eqn) for v in body.jaxpr.invars):
        raise CannotWiden(f"`{eqn.primitive.name}` carries a program over arrays")
    params = {key: _widened(value) for key, value in eqn.params.items()}
    primitive: Any = eqn.primitive
    try:
        outs = primitive.bind(*values, **params)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise CannotWiden(f"JAX refuses `{eqn.primitive.name}` in float64") from error
    return list(outs) if eqn.primitive.multiple_results else [outs]


def _widened(value: Any) -> Any:
    if isinstance(value, np.dtype):
        return wide_dtype(value)
    if isinstance(value, Jaxpr | ClosedJaxpr):
        closed = _widened_program(body_of(value))
        return closed if isinstance(value, ClosedJaxpr) else closed.jaxpr
    return value


def _widened_program(body: Body) -> Any:
    """How two elements are combined, in float64: what a `scatter` or `reduce` carries."""

    def run(*values: Any) -> list[Any]:
        env = dict(zip(body.jaxpr.invars, values, strict=True))

        def read(atom: Any) -> Any:
            return np.asarray(atom.val, wide_dtype(atom.aval.dtype)) if is_literal(atom) else env[atom]

        for eqn in body.eqns:
            outs = run_widened(eqn, [read(atom) for atom in eqn.invars])
            env.update(zip(eqn.outvars, outs, strict=True))
        return [read(atom) for atom in body.jaxpr.outvars]

    return jax.make_jaxpr(run)(*[np.zeros((), wide_dtype(v.aval.dtype)) for v in body.jaxpr.invars])


def wide_dtype(dtype: Any) -> Any:
    """float64 or complex128 for a floating dtype, any other as it is."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        return dtype
    return np.dtype(np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64)


def key_words(key: Any) -> Any:
    """A PRNG key as the integers that it is made of; any other array as it is."""
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key


def as_key(words: Any, aval: Any) -> Any:
    """The inverse of `key_words` for a value of type `aval`."""
    if not jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
        return words
    return jax.random.wrap_key_data(words, impl=aval.dtype._impl.name)
