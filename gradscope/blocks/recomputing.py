"""Which values that a block's backward needs are made again from others that are kept anyway.

JAX keeps for the backward pass every value that a derivative names: `x`, `3 * x ** 2` and `1 - tanh(x)` are
three arrays. One compiled program fuses the cheap ones into what reads them; between two programs they would
have to lie in memory. What a few elementwise operations make of values at hand is made again instead.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Var

from gradscope.trace import jaxprs
from gradscope.trace.vocabulary import is_real

LEAST = 2**16
"""Bytes of a value that is worth it."""
MOST = 4
"""Operations from what is kept to what is made of it."""
_VIEWS = frozenset({"broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "neg", "select_n"})
_ARITHMETIC = frozenset(
    {"add", "sub", "mul", "div", "integer_pow", "square", "abs", "max", "min"}
    | {"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"}
)


def made_again(eqns: Sequence[JaxprEqn], kept: Collection[Var], given: Collection[Var]) -> list[JaxprEqn]:
    """The equations that make some of `kept` from the rest of it and from `given`, in their order."""
    depth: dict[Any, int] = dict.fromkeys([*kept, *given], 0)
    wanted: set[Any] = set()
    for eqn in (each for each in eqns if _is_cheap(each)):
        out = eqn.outvars[0]
        operands = [atom for atom in eqn.invars if not jaxprs.is_literal(atom)]
        if out in given or any(atom not in depth for atom in operands):
            continue
        far = 1 + max((depth[atom] for atom in operands), default=0)
        if out not in kept and far < MOST:
            depth[out] = far
        elif out in kept and far <= MOST and _bytes(out) >= LEAST:
            depth[out] = far
            wanted.add(out)
    found = []
    for eqn in reversed(eqns):
        if wanted.intersection(eqn.outvars):
            found.append(eqn)
            wanted |= {atom for atom in eqn.invars if not jaxprs.is_literal(atom) and depth[atom] > 0}
    return found[::-1]


def _bytes(var: Any) -> int:
    return int(var.aval.size * var.aval.dtype.itemsize)


def _is_cheap(eqn: JaxprEqn) -> bool:
    """And gives the same bits wherever it runs: of halves, XLA fuses operations without rounding between."""
    name = eqn.primitive.name
    if len(eqn.outvars) != 1 or name not in _ARITHMETIC | _VIEWS | {"convert_element_type"}:
        return False
    avals: list[Any] = [atom.aval for atom in (*eqn.invars, *eqn.outvars)]
    if name == "convert_element_type":
        return bool(jnp.promote_types(avals[0].dtype, avals[-1].dtype) == avals[-1].dtype)
    halves = any(is_real(aval) and aval.dtype.itemsize < 4 for aval in avals)
    return name in _VIEWS or not halves
