"""What one equation computes and moves, from its shapes.

Counted as XLA's `HloCostAnalysis` counts: a multiplication and an addition are two operations, what is done
element by element is one for each element of the result, a sum one less than its elements.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.footprint.peak import size_of
from gradscope.trace import jaxprs

PRODUCTS, CONVOLUTIONS = "matrix products", "convolutions"
ELEMENTWISE, REDUCTIONS = "elementwise", "reductions"
LOOKUPS, SORTS, RANDOM, MOVES = "gathers and scatters", "sorts", "random numbers", "moves"

_FREE = frozenset(
    {"reshape", "squeeze", "expand_dims", "bitcast_convert_type", "stop_gradient", "optimization_barrier"}
    | {
        "name",
        "pvary",
        "sharding_constraint",
        "reshard",
        "device_put",
        "random_wrap",
        "random_unwrap",
        "iota",
    }
    | {"axis_index", "random_clone", "create_token"}
)
"""No compiler has to move anything for them."""
_MOVES = _FREE | frozenset(
    {"copy_p", "copy", "split", "slice", "real", "imag", "complex", "transpose", "broadcast_in_dim", "pad"}
    | {"concatenate", "rev", "empty", "all_gather", "all_to_all", "ppermute", "pbroadcast"}
)
_REDUCTIONS = frozenset(
    {f"reduce_{name}" for name in ("sum", "max", "min", "prod", "and", "or", "xor")} | {"argmax", "argmin"}
)
_RUNNING = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "top_k"})
_WINDOWS = frozenset({"reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window"})
_OVER_WINDOWS = frozenset({"select_and_scatter_add", "select_and_gather_add"})
_LOOKUPS = frozenset({"gather", "dynamic_slice", "dynamic_update_slice"})
_RANDOM = frozenset(
    {"random_bits", "threefry2x32", "random_split", "random_fold_in", "random_seed", "shuffle"}
)
_TRANSCENDENTAL = frozenset(
    {"exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh", "sin", "cos", "tan", "sqrt", "rsqrt", "cbrt"}
    | {"pow", "atan2", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"}
    | {"erf", "erfc", "erf_inv", "lgamma", "digamma", "polygamma", "igamma", "igammac", "bessel_i0e"}
)
_UNKNOWN = frozenset(
    {"fft", "cholesky", "eig", "eigh", "svd", "lu", "geqrf", "geqp3", "householder_product", "schur"}
    | {"triangular_solve", "tridiagonal", "tridiagonal_solve", "hessenberg", "pure_callback", "io_callback"}
    | {"debug_callback", "custom_call", "ffi_call", "pallas_call", "ragged_dot", "ragged_dot_general"}
    | {"random_gamma", "approx_top_k", "lu_pivots_to_permutation", "random_gamma_grad", "igamma_grad_a"}
    | {"regularized_incomplete_beta"}
)
THREEFRY = 117
"""Operations on integers for a pair of words: 20 rounds of 5, and 5 times 3 additions of the key, and 2."""


@dataclass
class CountedWork:
    """Operations by kind, bytes, and what could not be counted."""

    kinds: Counter[str] = field(default_factory=Counter)
    transcendental: float = 0.0
    """Among those that are done element by element."""
    size: float = 0.0
    """[bytes] of operands and results."""
    uncounted: Counter[str] = field(default_factory=Counter)
    """Primitives, by name."""

    @property
    def operations(self) -> float:
        return float(sum(self.kinds.values()))

    def add(self, other: CountedWork, times: float = 1.0) -> None:
        for kind, amount in other.kinds.items():
            self.kinds[kind] += amount * times  # type: ignore[assignment]
        self.transcendental += other.transcendental * times
        self.size += other.size * times
        self.uncounted.update(other.uncounted)


def work_of(eqn: JaxprEqn) -> CountedWork:
    """Of an equation that carries no program, once."""
    name = eqn.primitive.name
    kind, amount = _counted(eqn, name)
    found = CountedWork(size=_moved(eqn, name))
    if kind is None:
        found.uncounted[name] += 1
    else:
        found.kinds[kind] = amount  # type: ignore[assignment]
    if name in _TRANSCENDENTAL:
        found.transcendental = amount
    return found


def _counted(eqn: JaxprEqn, name: str) -> tuple[str | None, float]:
    made = max((_elements(var) for var in eqn.outvars), default=0)
    given = _elements(eqn.invars[0]) if eqn.invars else 0
    pairs = jaxprs.multiply_adds(eqn)
    if pairs is not None:
        return (PRODUCTS if name == "dot_general" else CONVOLUTIONS), 2.0 * pairs
    if name in _UNKNOWN:
        return None, 0.0
    if name in _LOOKUPS:
        return LOOKUPS, 0.0
    if name.startswith("scatter"):
        return LOOKUPS, float(0 if name == "scatter" else _elements(eqn.invars[2]))
    if name in _MOVES:
        return MOVES, 0.0
    if name in _REDUCTIONS:
        return REDUCTIONS, float(max(0, given - made))
    if name in _RUNNING:
        return REDUCTIONS, float(given)
    if name in _WINDOWS:
        return REDUCTIONS, float(made * (jaxprs.window(eqn) - 1))
    if name in _OVER_WINDOWS:
        return REDUCTIONS, float(given * jaxprs.window(eqn))
    if name == "sort":
        return SORTS, float(given * math.ceil(math.log2(max(2, given))))
    if name in _RANDOM:
        return RANDOM, float(made * THREEFRY)
    if name == "one_minus_square":  # of JAX 0.12: (1 - x) (1 + x)
        return ELEMENTWISE, 3.0 * made
    if name == "integer_pow":
        return ELEMENTWISE, float(made * _multiplications(jaxprs.exponent(eqn)))
    return (ELEMENTWISE, float(made)) if _element_by_element(eqn) else (None, 0.0)


def _element_by_element(eqn: JaxprEqn) -> bool:
    """Every operand has the shape of the result, is one number, or is stretched along axes of length one."""
    made = getattr(eqn.outvars[0].aval, "shape", ()) if eqn.outvars else ()
    shapes = [getattr(atom.aval, "shape", ()) for atom in eqn.invars]
    return all(
        not shape or (len(shape) == len(made) and all(a in (1, b) for a, b in zip(shape, made, strict=True)))
        for shape in shapes
    )


def _multiplications(power: int) -> int:
    """By repeated squaring, and a division where it is negative."""
    size = abs(power)
    return max(0, size.bit_length() - 1) + max(0, size.bit_count() - 1) + (power < 0)


def _moved(eqn: JaxprEqn, name: str) -> float:
    if name in _FREE:
        return 0.0
    made = sum(size_of(var.aval) for var in eqn.outvars)
    operands = [atom for atom in eqn.invars if not jaxprs.is_literal(atom)]
    if name in ("gather", "dynamic_slice", "slice"):  # the rows that are taken, and where they are
        return float(2 * made + sum(size_of(atom.aval) for atom in operands[1:]))
    if name.startswith("scatter"):
        return float(2 * size_of(eqn.invars[2].aval) + size_of(eqn.invars[1].aval))
    if name == "dynamic_update_slice":
        return float(2 * size_of(eqn.invars[1].aval))
    return float(made + sum(size_of(atom.aval) for atom in operands))


def _elements(atom: Any) -> int:
    return math.prod(getattr(atom.aval, "shape", ()))
