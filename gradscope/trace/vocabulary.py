"""What the analysis knows of plain primitives: which are views, which have no gradient, which activate."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.sites import Kind, Site, Value

NO_GRADIENT = frozenset({"stop_gradient", "sign", "floor", "ceil", "round"})
"""Real-valued operations whose derivative JAX defines as zero; integer and boolean results need no list."""

VIEWS = frozenset(
    {"reshape", "transpose", "convert_element_type", "squeeze", "copy"}
    | {"optimization_barrier", "name", "sharding_constraint", "reduce_precision", "pvary"}
    | {"broadcast_in_dim", "rev", "device_put", "reshard"}
)
"""Operations whose result is its operand in another arrangement."""

PARTS = frozenset({"slice", "dynamic_slice", "split", "gather"})

INDEXED = frozenset({"dynamic_slice", "gather"})

IMPLICIT_SAMPLES = frozenset({"random_gamma"})
"""Samples by rejection, whose derivative is that of the distribution (implicit reparameterization) and not of
the sample that one key gives: beta, dirichlet, chi-squared and t are made of gamma."""

CALLBACKS = frozenset({"pure_callback", "io_callback", "debug_callback"})
PLACED = frozenset({"shard_map", "sharding_constraint", "reshard"})
"""Their results lie on the devices of a mesh."""

SUMS_OVER_DEVICES = frozenset({"psum", "psum_invariant"})
"""A product whose summed axis is spread over devices is complete only after these."""

SIDE_BY_SIDE = frozenset(
    {"optimization_barrier", "psum", "psum_invariant", "pmax", "pmin", "pvary", "all_gather"}
    | {"all_gather_invariant", "ppermute", "pbroadcast"}
)
"""Operations on several operands at once, each of which gives the result at its own position."""

ROOTS = frozenset({"sqrt", "rsqrt", "pow"})
PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})

ELEMENTWISE = frozenset({"add", "sub", "mul", "div", "add_any", "select_n", "pow", "max", "min"})

CUSTOM = frozenset({"custom_jvp_call", "custom_vjp_call"})
"""Opaque because their derivative is the user's own: tapped at their outputs. One that takes no more than a
weight and a bias is a layer, and is not listed as unseen."""

_ACTIVATIONS = frozenset(
    {"relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "soft_sign"}
    | {
        "tanh",
        "logistic",
        "log_sigmoid",
        "hard_tanh",
        "hard_sigmoid",
        "hard_silu",
        "squareplus",
        "glu",
        "sin",
    }
)
_ALIASES = {"sigmoid": "logistic", "swish": "silu", "softsign": "soft_sign"}

STRAIGHT = frozenset({"relu", "relu6", "leaky_relu", "hard_tanh", "hard_sigmoid", "abs"})
"""Functions made of straight pieces: wherever they have a second derivative, it is 0."""


def activation(eqn: JaxprEqn) -> str | None:
    """The activation function that the equation applies or calls, under one name each."""
    name = jaxprs.function_name(eqn) or eqn.primitive.name
    if name == "max" and any(jaxprs.is_zero(atom) for atom in eqn.invars):
        return "relu"
    name = _ALIASES.get(name, name)
    return name if name in _ACTIVATIONS else None


def is_real(aval: Any) -> bool:
    """A floating or complex array: something that can carry a gradient."""
    return hasattr(aval, "dtype") and jnp.issubdtype(aval.dtype, jnp.inexact)


def is_integer(aval: Any) -> bool:
    """An integer or boolean array."""
    kinds = (jnp.integer, jnp.bool_)
    return hasattr(aval, "dtype") and any(jnp.issubdtype(aval.dtype, kind) for kind in kinds)


def scales(eqn: JaxprEqn, ins: list[Value]) -> bool:
    """A site times numbers that are fewer than its elements: a temperature, a norm of each row."""
    sited, other = eqn.invars if ins[0].site is not None else reversed(eqn.invars)
    return bool(getattr(other.aval, "size", 1) < getattr(sited.aval, "size", 1))


def reduces(base: Value, aval: Any) -> bool:
    """A larger weight becomes a scalar, as in a penalty."""
    return base.kind is Kind.WEIGHT and bool(base.shape) and getattr(aval, "ndim", 0) == 0


def keeps_plain(name: str, ins: list[Value]) -> bool:
    """Leaves stay such in another arrangement, masked, and where they are added up or scaled by constants."""
    if name in VIEWS | PARTS | {"stop_gradient", "neg"}:
        return ins[0].plain
    if name == "select_n":
        return any(v.plain for v in ins[1:])
    linear = name in ("mul", "div", "add", "sub", "complex", "concatenate", "pad")
    return linear and any(v.plain for v in ins) and all(v.plain or v.kind is Kind.CONSTANT for v in ins)


def is_scale(site: Site) -> bool:
    """A vector times numbers that still have to meet the data: `rsqrt(variance) * scale`."""
    return site.op == "mul" and len(site.weight) - site.beside <= 1 and not site.moved
