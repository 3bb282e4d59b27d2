"""Sums that a program itself adds up in 16 bits or fewer: `jnp.cumsum`, or `jnp.sum` that was told to.

`jnp.sum` and `jnp.mean` add up in float32 by themselves, and products of matrices do so in hardware.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from gradscope.measure.kept_wide import equations_of
from gradscope.records import NarrowSum
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.sources import source_of

LEAST = 16
"""Numbers: fewer lose little more than each of them does by being rounded."""


def narrow_sums(body: Body) -> tuple[NarrowSum, ...]:
    """Those that the first output needs, in the order of the program, each line once."""
    found = []
    for _, eqn, calls in equations_of(jaxprs.reaching(body)):
        if eqn.primitive.name in ("reduce_sum", "cumsum") and _is_narrow(eqn.invars[0].aval):
            aval: Any = eqn.invars[0].aval
            found.append(NarrowSum(eqn.primitive.name, str(aval.dtype), _length(eqn), source_of(eqn, calls)))
    return tuple(dict.fromkeys(each for each in found if each.length >= LEAST))


def _is_narrow(aval: Any) -> bool:
    return bool(jnp.issubdtype(aval.dtype, jnp.floating) and jnp.dtype(aval.dtype).itemsize < 4)


def _length(eqn: JaxprEqn) -> int:
    """How many numbers are added up."""
    before: Any = eqn.invars[0].aval
    after: Any = eqn.outvars[0].aval
    if eqn.primitive.name == "cumsum":
        return int(before.shape[jaxprs.axis_of(eqn)])
    return int(before.size // max(1, after.size))
