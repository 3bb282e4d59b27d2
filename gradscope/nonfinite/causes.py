"""Which of the known cases an origin is: from the operation, its operands and what led up to it.

Pure, on the record alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gradscope.records import Cause, Origin
from gradscope.trace.nested.registry import kinds

ROOTS = frozenset({"sqrt", "rsqrt", "cbrt"})
EXPONENTIALS = frozenset({"exp", "exp2", "expm1", "sinh", "cosh"})
MATRICES = frozenset(
    {"cholesky", "lu", "triangular_solve", "qr", "householder_product", "custom_linear_solve"}
)
SPECTRA = frozenset({"eigh", "svd", "eig", "schur"})
DOMAINS = frozenset(
    {"acos", "asin", "acosh", "atanh", "erf_inv", "lgamma", "digamma", "polygamma", "igamma", "igammac"}
    | {"bessel_i0e", "bessel_i1e", "regularized_incomplete_beta", "zeta", "tan"}
)
OPAQUE = frozenset({*kinds(), "pallas_call", "pure_callback", "io_callback", "ffi_call", "custom_lin"})
"""Run as they are: a loop or a mesh whose parts give nothing bad, and what carries no jaxpr at all."""
HALF = frozenset({"float16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz"})
DEVIATIONS = ("std", "_std", "nanstd", "standardize")
NORMS = ("norm", "safe_norm", "global_norm")


def cause_of(origin: Origin) -> Cause:
    if origin.derivative_of is not None:
        return _of_derivative(origin, origin.derivative_of)
    if origin.masked and _is_sharp(origin.op):
        return Cause.UNSAFE_WHERE
    named = _FORWARD.get(origin.op)
    if named is not None:
        return named(origin)
    for family, cause in (
        (EXPONENTIALS, Cause.EXP_OVERFLOW),
        (DOMAINS, Cause.OUTSIDE_DOMAIN),
        (MATRICES, Cause.SINGULAR_MATRIX),
        (SPECTRA, Cause.OTHER),
        (OPAQUE, Cause.UNSEEN),
    ):
        if origin.op in family:
            return cause
    return _arithmetic(origin)


def _of_derivative(origin: Origin, of: str) -> Cause:
    operands = origin.forward_operands
    zero = bool(operands) and operands[-1] == 0
    if of in OPAQUE:
        return Cause.UNSEEN
    if origin.masked and math.isnan(_final(origin)) and _is_sharp(of):
        return Cause.UNSAFE_WHERE
    if of in ROOTS:
        return _root(origin)
    if of in SPECTRA:
        return Cause.EQUAL_VALUES
    if of in MATRICES:
        return Cause.SINGULAR_MATRIX
    if of in ("log", "log1p"):
        return _log(origin)
    if of == "div" and zero:
        return Cause.DIVISION_BY_ZERO
    if of in ("pow", "integer_pow") and operands and operands[0] <= 0:
        return Cause.POWER_AT_ZERO if operands[0] == 0 else Cause.POWER_OF_NEGATIVE
    if of == "atan2" and operands and not any(operands):
        return Cause.ANGLE_AT_ORIGIN
    if of in DOMAINS:
        return Cause.EDGE_OF_DOMAIN
    if origin.op == "div" and origin.operands[-1] == 0:
        return Cause.DIVISION_BY_ZERO
    if origin.op in ("log", "log1p") and origin.operands[0] == (-1 if origin.op == "log1p" else 0):
        return Cause.LOG_OF_ZERO
    return _arithmetic(origin)


def _final(origin: Origin) -> float:
    return origin.became.result if origin.became is not None else origin.result


def _is_sharp(of: str) -> bool:
    return of in ROOTS or of in DOMAINS or of in ("log", "log1p", "div", "pow", "integer_pow", "atan2", "exp")


def _log(origin: Origin) -> Cause:
    operands = origin.forward_operands if origin.derivative_of else origin.operands
    edge = -1.0 if "log1p" in (origin.op, origin.derivative_of) else 0.0
    if operands and operands[0] < edge:
        return Cause.LOG_OF_NEGATIVE
    if operands and operands[0] > edge:
        return _arithmetic(origin)
    before = [step.op for step in origin.lead_up if step.op not in ("log", "log1p")]
    if "div" in before and "exp" in before[: before.index("div")]:
        return Cause.LOG_OF_SOFTMAX
    if "logistic" in before[-3:]:
        return Cause.LOG_OF_SIGMOID
    return Cause.LOG_OF_ZERO


def _root(origin: Origin) -> Cause:
    operands = origin.forward_operands if origin.derivative_of else origin.operands
    if operands and operands[0] < 0:
        return Cause.ROOT_OF_NEGATIVE
    if any(name in DEVIATIONS for name in origin.within):
        return Cause.STD_OF_CONSTANT
    if any(name in NORMS for name in origin.within):
        return Cause.NORM_AT_ZERO
    return Cause.ROOT_AT_ZERO if "rsqrt" not in (origin.op, origin.derivative_of) else Cause.DIVISION_BY_ZERO


def _division(origin: Origin) -> Cause:
    if len(origin.operands) != 2 or origin.operands[1] != 0:
        return _arithmetic(origin)
    if origin.operands[0] != 0:
        return Cause.DIVISION_BY_ZERO
    return Cause.MEAN_OF_NOTHING if set(origin.made_by) == {"reduce_sum"} else Cause.ZERO_OVER_ZERO


def _power(origin: Origin) -> Cause:
    base = origin.operands[0]
    if base == 0:
        return Cause.POWER_AT_ZERO
    return Cause.POWER_OF_NEGATIVE if math.isnan(origin.result) else _arithmetic(origin)


def _arithmetic(origin: Origin) -> Cause:
    """Sums, products and what is made of them."""
    if math.isnan(origin.result):
        return _undefined(origin)
    if origin.dtype in HALF:
        return Cause.HALF_PRECISION
    if any(origin.steps):
        return Cause.GROWTH_IN_LOOP
    return Cause.OVERFLOW


def _undefined(origin: Origin) -> Cause:
    below = [value == -math.inf for value in origin.operands]
    infinite = [math.isinf(value) for value in origin.operands]
    if origin.op == "sub" and all(below) and origin.derivative_of is None:
        return Cause.MASKED_ROW
    if not any(infinite):
        return Cause.ZERO_OVER_ZERO if origin.op == "div" else Cause.OTHER
    if origin.op == "div":
        return Cause.INFINITY_OVER_INFINITY
    if origin.op in ("mul", "dot_general", "conv_general_dilated"):
        return Cause.ZERO_TIMES_INFINITY
    return Cause.INFINITY_MINUS_INFINITY


def _gather(origin: Origin) -> Cause:
    """It computes nothing: what was not there before is JAX's filling for an index outside of the array."""
    return Cause.OUTSIDE_INDEX if math.isnan(origin.result) else Cause.OTHER


_FORWARD: dict[str, Callable[[Origin], Cause]] = {
    "gather": _gather,
    "log": _log,
    "log1p": _log,
    "sqrt": _root,
    "rsqrt": _root,
    "cbrt": _root,
    "div": _division,
    "rem": _division,
    "pow": _power,
    "integer_pow": _power,
}
