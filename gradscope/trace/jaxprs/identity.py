"""When two equations do the same: their keys are equal only if one can stand in for the other.

A key is made of the primitive, its parameters, and the types of operands and results; jaxprs in the
parameters are compared equation by equation, with their variables numbered by first use. What a parameter
holds that compares by identity (a function of the user) is equal to itself only. The parameters of a custom
derivative rule hold functions that JAX makes anew for each call, so such an equation is known by its value
and derivative as a program instead: blocks are differentiated once, and in that program a custom rule that is
left only gives its value.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var

from gradscope.trace.jaxprs.custom_rules import CUSTOM_RULES
from gradscope.trace.jaxprs.programs import Body, as_function, body_of, is_literal

SMALL_CONSTANT = 1024
"""Bytes up to which constants are compared by value; larger ones are equal to themselves only."""


class Identity:
    """Numbers equations; equal numbers mean that the equations do the same to operands of the same types.

    Keeps what it numbered alive, because objects without an equality of their own are known by their address.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._programs: dict[tuple[int, bool], tuple[Any, tuple[Hashable, bool]]] = {}
        self._differentiated = False
        self._derivatives: dict[Hashable, Hashable] = {}
        self._alive: list[Any] = []

    def number(self, key: Hashable) -> int:
        """A small number for a key: the same for equal keys, another for every other."""
        return self._numbers.setdefault(key, len(self._numbers))

    def equation(self, eqn: JaxprEqn) -> int:
        """The number of an equation, its operands and results left open."""
        key, plain = self._equation(eqn)
        if not plain and key not in self._derivatives:
            self._derivatives[key] = self._by_derivative(eqn, key)
        return self.number(key if plain else self._derivatives[key])

    def kind(self, eqn: JaxprEqn) -> int:
        """The number of an equation with its parameters and the values of its literals left open."""
        atoms = (*eqn.invars, *eqn.outvars)
        return self.number(("kind", eqn.primitive.name, tuple(_type(atom.aval) for atom in atoms)))

    def atom(self, atom: Any) -> Hashable:
        """What is known of an operand without its place: a literal's value, a variable's type."""
        if is_literal(atom):
            return "literal", _type(atom.aval), self._constant(atom.val)
        return _type(atom.aval)

    def _equation(self, eqn: JaxprEqn) -> tuple[Hashable, bool]:
        parameters = eqn.params
        if self._differentiated and eqn.primitive.name in CUSTOM_RULES:
            parameters = {"call_jaxpr": parameters["call_jaxpr"]}
        known, plain = self._value(parameters)
        types = (tuple(map(self.atom, eqn.invars)), tuple(_type(var.aval) for var in eqn.outvars))
        return (eqn.primitive.name, known, types, self._object(eqn.ctx)), plain

    def _by_derivative(self, eqn: JaxprEqn, key: Hashable) -> Hashable:
        """The equation's value and derivative as one program, or the equation itself where it has none."""
        try:
            program = _with_derivative(eqn)
        except Exception:  # not differentiable, or only where it stands: then it equals nothing but itself
            return key
        body = body_of(program)
        self._differentiated = True
        found, plain = self._program(body.jaxpr, body.consts)
        self._differentiated = False
        types = tuple(map(self.atom, eqn.invars))
        return ("derivative", eqn.primitive.name, types, found) if plain else key

    def _program(self, jaxpr: Any, consts: Sequence[Any] = ()) -> tuple[Hashable, bool]:
        """The key of a jaxpr, and whether all in it compares by value."""
        place = id(jaxpr), self._differentiated
        known = self._programs.get(place)
        if known is None:  # the jaxpr is kept with its key, so that its address stays its own
            known = self._programs[place] = jaxpr, self._walked(jaxpr)
        key, plain = known[1]
        return (key, tuple(self._constant(const) for const in consts)), plain

    def _walked(self, jaxpr: Any) -> tuple[Hashable, bool]:
        names: dict[Any, int] = {}

        def place(atom: Any) -> Hashable:
            return self.atom(atom) if is_literal(atom) else names.setdefault(atom, len(names))

        plain = True
        inputs = [*jaxpr.constvars, *jaxpr.invars]
        parts: list[Hashable] = [tuple((place(var), _type(var.aval)) for var in inputs)]
        for eqn in jaxpr.eqns:
            key, is_plain = self._equation(eqn)
            plain = plain and is_plain
            ends = tuple(map(place, eqn.invars)), tuple(map(place, eqn.outvars))
            parts.append((self.number(key), ends))
        parts.append(tuple(map(place, jaxpr.outvars)))
        return self.number(tuple(parts)), plain

    def _value(self, value: Any) -> tuple[Hashable, bool]:
        if isinstance(value, Jaxpr | ClosedJaxpr):
            body: Body = body_of(value)
            return self._program(body.jaxpr, body.consts)
        if isinstance(value, dict):
            items = [(name, self._value(item)) for name, item in sorted(value.items(), key=_first)]
            return tuple((name, key) for name, (key, _) in items), all(plain for _, (_, plain) in items)
        if type(value) in (tuple, list):
            found = [self._value(item) for item in value]
            return (type(value), *(key for key, _ in found)), all(plain for _, plain in found)
        if isinstance(value, np.ndarray | jax.Array):
            return self._constant(value), True
        return self._object(value), not _is_function(value)

    def _object(self, value: Any) -> Hashable:
        """By value where its type defines that, else by identity."""
        try:
            hash(value)
        except TypeError:
            self._alive.append(value)
            return "object", id(value)
        self._alive.append(value)
        return type(value), value

    def _constant(self, value: Any) -> Hashable:
        array = value if isinstance(value, np.ndarray | jax.Array) else np.asarray(value)
        if jnp.issubdtype(array.dtype, jax.dtypes.extended) or array.nbytes > SMALL_CONSTANT:
            self._alive.append(value)
            return "object", id(value)
        return "constant", str(array.dtype), array.shape, np.asarray(array).tobytes()


def _with_derivative(eqn: JaxprEqn) -> Any:
    """The jaxpr of an equation's results and of their pullback, at the types of its operands."""
    reads = list(dict.fromkeys(atom for atom in eqn.invars if isinstance(atom, Var)))
    run = as_function(body_of(jax.make_jaxpr(lambda: None)()), [eqn], reads, list(eqn.outvars))
    floating = [_floating(var) for var in reads]

    def both(moving: list[Any], fixed: list[Any], cotangents: list[Any]) -> Any:
        def results(moving: list[Any]) -> Any:
            parts = iter(moving), iter(fixed)
            outs = run(*[next(parts[0] if moves else parts[1]) for moves in floating])
            return [out for out, var in zip(outs, eqn.outvars, strict=True) if _floating(var)], outs

        _, pullback, outs = jax.vjp(results, moving, has_aux=True)
        return outs, pullback(cotangents)

    return jax.make_jaxpr(both)(
        [_shape(var) for var in reads if _floating(var)],
        [_shape(var) for var in reads if not _floating(var)],
        [_shape(var) for var in eqn.outvars if _floating(var)],
    )


def _is_function(value: Any) -> bool:
    """A function, or JAX's wrapper of one: equal to itself only, and made anew for each call."""
    return isinstance(value, FunctionType | MethodType | partial) or hasattr(value, "call_wrapped")


def _floating(var: Any) -> bool:
    return bool(jnp.issubdtype(var.aval.dtype, jnp.inexact))


def _shape(var: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype)  # type: ignore[no-untyped-call]


def _type(aval: Any) -> Hashable:
    return aval if hasattr(aval, "shape") else str(aval)


def _first(item: tuple[str, Any]) -> str:
    return item[0]
