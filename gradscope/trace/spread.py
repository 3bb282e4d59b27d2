"""Arrays of the size of the parameters stay where the parameters lie.

XLA chooses where the results of a program lie: the gradient of a parameter that is split over devices may
come out whole on each of them, and what begins at zero (the state of an optimizer) does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding

from gradscope.trace.compiling import compile_program


def spread(arrays: Sequence[Any]) -> bool:
    """Whether any of them lies on several devices, or is a shape that will."""
    return any(
        isinstance(each, jax.Array | jax.ShapeDtypeStruct)
        and each.sharding is not None
        and len(each.sharding.device_set) > 1
        for each in arrays
    )


def in_reach(arrays: Sequence[Any]) -> bool:
    """Whether NumPy can read them where they lie: on one CPU, and not in parts on several devices."""
    return jax.default_backend() == "cpu" and not spread(arrays)


def placed_as(values: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    """Traceable: each value laid out as the array of its shape that stands at its place in `like`."""
    return [_placed(value, other) for value, other in zip(values, like, strict=True)]


def started(start: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any]:
    """What makes the state of an optimizer: compiled, or operation by operation where parameters lie on
    several devices, as then zeros like a parameter lie where it does."""
    return start if spread(jax.tree.leaves(args)) else compile_program(start, args, runs=1)


def _placed(value: Any, like: Any) -> Any:
    if not spread([like]) or not isinstance(like.sharding, NamedSharding) or value.shape != like.shape:
        return value
    # On explicit axes the type of a gradient already says where it lies.
    if AxisType.Explicit in like.sharding.mesh.axis_types:
        return value
    return jax.lax.with_sharding_constraint(value, like.sharding)  # type: ignore[no-untyped-call]
