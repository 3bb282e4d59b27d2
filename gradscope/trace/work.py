"""How much one run of a program computes, estimated from its shapes."""

from __future__ import annotations

import math
from typing import Any

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted
from gradscope.trace.nested.registry import inside

BACKWARD = 3.0
"""A gradient computes about so many times what its loss does."""


def operations(body: Body) -> float:
    """Multiplications and additions of products and convolutions, one operation per element of the rest.

    A loop whose length only the run knows counts once, and of several branches the longest.
    """
    return sum(map(_of_equation, body.eqns))


def _of_equation(eqn: Any) -> float:
    carried = inside(eqn)
    if carried is None:
        elements = sum(math.prod(getattr(var.aval, "shape", ())) for var in eqn.outvars)
        return float(elements * 2 * (jaxprs.fan_in(eqn) or 0.5))
    runs = carried.loop.length if isinstance(carried.loop, Counted) else 1
    devices = carried.shards.devices if carried.shards else 1
    return runs * devices * max((operations(entry.body) for entry in carried.entries), default=0.0)
