"""Functions of libraries whose dangerous-looking operations are known to be safe."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs.authors import author

_STABLE = re.compile(r"/(jax/_src/(nn|scipy|ops|random|image|cudnn)|optax)[/.]")
"""`jax.nn`, `jax.scipy`, `jax.random` and Optax subtract the maximum, add an epsilon or guard both ways."""


def is_stable(eqn: JaxprEqn, calls: Sequence[JaxprEqn]) -> bool:
    return _STABLE.search(author(eqn, calls).replace(os.sep, "/")) is not None
