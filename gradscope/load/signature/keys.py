"""PRNG keys for the user's code, and the calls of the user's functions that may want one.

Keys are raw (`jax.random.PRNGKey`), not typed (`jax.random.key`). Both kinds were given to `jax.random`,
Equinox, Haiku, Linen and NNX: all take both. Code of users that indexes a key, converts it to NumPy, adds
to it, reshapes it or wraps it again takes raw ones only; code that asserts the typed dtype is rare.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.usercode.user_code import user_code

NO_KEY = np.zeros(2, np.uint32)
"""For a loss that takes none: to make a key takes a tenth of a second of compiling."""
_KEY_NAME = re.compile(r"(?:^|_)(?:prng_?key|key|rngs?|prng|seed)$")


def prng_key(seed: int) -> Any:
    """A raw key, or a typed one where the user's file forbids raw keys by JAX's configuration."""
    allowed = str(getattr(jax.config, "jax_legacy_prng_key", "allow")).lower().endswith("allow")
    return jax.random.PRNGKey(seed) if allowed else jax.random.key(seed)


def is_key_name(name: str) -> bool:
    return _KEY_NAME.search(name.lower()) is not None


def is_seed_name(name: str) -> bool:
    return is_key_name(name) and name.lower().endswith("seed")


def seed_from(key: Any) -> Any:
    """A non-negative int32 scalar (traced if the key is), for a parameter that wants a seed and no key."""
    return jax.random.randint(key, (), 0, 2**31 - 1)


def required_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Parameters without a default, empty where the signature cannot be read."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in parameters if p.default is p.empty and p.kind not in variadic]


def takes_nothing_or_a_key(function: Callable[..., Any]) -> bool:
    required = required_parameters(function)
    return not required or (len(required) == 1 and is_key_name(required[0].name))


def call_with_key(function: Callable[..., Any], name: str, seed: int) -> Any:
    """Calls `name()` or `name(key)`; a parameter that is named like a seed gets the integer.

    A sole required parameter gets the key whatever its name is: `init(k)`.
    """
    required = required_parameters(function)
    if len(required) > 1:
        found = f"{name}{inspect.signature(function)}"
        raise GradscopeError(
            f"{name} takes {len(required)} arguments: `{found}`.",
            why=f"gradscope calls it with nothing or with a PRNG key: `{name}()` or `{name}(key)`.",
            fix=f"Bind the others: `def {name}(key): return ...`, or give them defaults.",
            slug="wrong-number-of-arguments",
        )
    with user_code(f"calling {name}"):
        if not required:
            return function()
        argument = seed if is_seed_name(required[0].name) else prng_key(seed)
        if required[0].kind is inspect.Parameter.KEYWORD_ONLY:
            return function(**{required[0].name: argument})
        return function(argument)


def is_key(value: Any) -> bool:
    """A PRNG key, of either kind."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return False
    return bool(jnp.issubdtype(dtype, jax.dtypes.prng_key)) or (value.shape == (2,) and dtype == np.uint32)
