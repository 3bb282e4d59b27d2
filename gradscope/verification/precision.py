"""In which precision a program computes, and the same problem in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.leaves import is_array
from gradscope.trace.program import Program


def widened(tree: Any) -> Any:
    """Floating leaves as float64, complex ones as complex128; inside `jax.enable_x64` only.

    An array that lies on several devices stays there.
    """
    return jax.tree_util.tree_map(_wide, tree)


def _wide(leaf: Any) -> Any:
    if not is_array(leaf) or isinstance(leaf, float | complex) or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    kind = np.complex128 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else np.float64
    if isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1:
        return leaf.astype(kind)
    return np.asarray(leaf).astype(kind)


def narrow_dtypes(tree: Any) -> tuple[str, ...]:
    """The floating dtypes below float64 in which JAX holds the leaves of `tree`, by name; call it outside of
    `jax.enable_x64`."""
    dtypes = [
        leaf.dtype for leaf in jax.tree_util.tree_leaves(tree) if is_array(leaf) and hasattr(leaf, "dtype")
    ]
    held = {jax.dtypes.canonicalize_dtype(d) for d in dtypes if jnp.issubdtype(d, jnp.inexact)}
    return tuple(sorted(str(dtype) for dtype in held if dtype != jaxprs.wide_dtype(dtype)))


def lowest_precision(program: Program) -> Any:
    """The coarsest floating dtype through which the loss sees its parameters.

    A model may pin its own dtype inside (`x.astype(jnp.bfloat16)`): it then rounds there, in whatever
    precision it is traced. Constants and data in another dtype do not count.
    """
    body = jaxprs.reaching(program.body)
    from_weights = [i < len(program.leaves) for i in range(len(body.jaxpr.invars))]
    found = [jnp.dtype(leaf.dtype) for leaf in program.leaves]
    found += [var.dtype for var in _computed(body, from_weights)]
    return max(found, key=spacing)


def spacing(dtype: Any) -> float:
    """The relative distance between neighbouring numbers."""
    return float(jnp.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def _computed(body: Body, from_weights: Sequence[bool]) -> Iterator[Any]:
    """The floating values that are computed from the weights, at any depth."""
    known = dict(zip(body.jaxpr.invars, from_weights, strict=True))

    def reads(atom: Any) -> bool:
        return not jaxprs.is_literal(atom) and known.get(atom, False)

    for eqn in body.eqns:
        ins = [reads(atom) for atom in eqn.invars]
        known.update(dict.fromkeys(eqn.outvars, any(ins)))
        if not any(ins):
            continue
        yield from (var.aval for var in eqn.outvars if _is_floating(var.aval))
        for inner in jaxprs.inner_bodies(eqn):
            yield from _computed(inner, _entering(inner, ins))


def _entering(inner: Body, ins: list[bool]) -> list[bool]:
    """Which inputs of a carried program come from the weights; all of them where the two do not match."""
    count = len(inner.jaxpr.invars)
    if count == len(ins):
        return ins
    if count == len(ins) - 1:  # the branches of a `cond` do not see its index
        return ins[1:]
    return [True] * count


def _is_floating(aval: Any) -> bool:
    return hasattr(aval, "dtype") and jnp.issubdtype(aval.dtype, jnp.floating)
