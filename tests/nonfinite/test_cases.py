"""Each way to stop being finite is named right at the right line; a twin that looks alike is finite.

The line that is marked is the truth: the rest of each loss is healthy, and the twins show it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gradscope.records import Cause
from tests.nonfinite.finding import Loss, is_finite, marked_line, origin_of

INF, NAN = math.inf, math.nan


class Case(NamedTuple):
    cause: Cause
    sick: Loss
    twin: Loss
    of: str
    """The forward operation at which it happens."""
    operands: tuple[float, ...] | None = None
    """What that operation gets there; `None`: not compared."""
    backward: bool = False
    """The forward value is finite; its derivative is not."""


def log_of_zero(p: Any, b: Any) -> Any:
    h = jnp.where(b @ p["w"] > 0.5, 0.0, jnp.exp(b @ p["w"]))
    return jnp.log(h).sum()  # here


def log_of_guarded(p: Any, b: Any) -> Any:
    h = jnp.where(b @ p["w"] > 0.5, 0.0, jnp.exp(b @ p["w"]))
    return jnp.log(h + 1e-6).sum()


def log_of_softmax(p: Any, b: Any) -> Any:
    return -jnp.log(jax.nn.softmax(200 * b @ p["w"]))[:, 0].mean()  # here


def log_softmax(p: Any, b: Any) -> Any:
    return -jax.nn.log_softmax(200 * b @ p["w"])[:, 0].mean()


def log_of_sigmoid(p: Any, b: Any) -> Any:
    return -jnp.log(jax.nn.sigmoid(200 * b @ p["w"])).mean()  # here


def log_sigmoid(p: Any, b: Any) -> Any:
    return -jax.nn.log_sigmoid(200 * b @ p["w"]).mean()


def log_of_negative(p: Any, b: Any) -> Any:
    return jnp.log(-1.0 - (b @ p["w"]) ** 2).sum()  # here


def log_of_positive(p: Any, b: Any) -> Any:
    return jnp.log(1.0 + (b @ p["w"]) ** 2).sum()


def root_at_zero(p: Any, b: Any) -> Any:
    z = b @ p["w"]
    square = ((z[:, None] - z[None]) ** 2).sum(-1)
    return jnp.sqrt(square).mean()  # here


def root_off_zero(p: Any, b: Any) -> Any:
    z = b @ p["w"]
    square = ((z[:, None] - z[None]) ** 2).sum(-1)
    return jnp.sqrt(square + 1e-12).mean()


def norm_at_zero(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return jnp.linalg.norm(h - h[:1], axis=-1).sum()  # here


def norm_off_zero(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return jnp.linalg.norm(h[1:] - h[:1], axis=-1).sum()


def std_of_constant(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return jnp.std(h - h).sum()  # here


def std_of_spread(p: Any, b: Any) -> Any:
    return jnp.std(b @ p["w"]).sum()


def root_of_negative(p: Any, b: Any) -> Any:
    return jnp.sqrt(b @ p["w"]).sum()  # here


def root_of_absolute(p: Any, b: Any) -> Any:
    return jnp.sqrt(jnp.abs(b @ p["w"])).sum()


def division_by_zero(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return (2.0 / (h - h)).sum()  # here


def division_by_guarded(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return (2.0 / (h - h + 1e-6)).sum()


def reciprocal_root(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return (h * lax.rsqrt(jnp.mean(h - h, -1, keepdims=True))).sum()  # here


def reciprocal_root_guarded(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return (h * lax.rsqrt(jnp.mean(h - h, -1, keepdims=True) + 1e-6)).sum()


def zero_over_zero(p: Any, b: Any) -> Any:
    h = jnp.maximum(b @ p["w"] - 99.0, 0.0)
    return (h / h.sum(-1, keepdims=True)).sum()  # here


def zero_over_guarded(p: Any, b: Any) -> Any:
    h = jnp.maximum(b @ p["w"] - 99.0, 0.0)
    return (h / jnp.maximum(h.sum(-1, keepdims=True), 1e-6)).sum()


def mean_of_nothing(p: Any, b: Any) -> Any:
    seen = b[:, 0] > 99.0
    error = ((b @ p["w"]) ** 2).sum(-1)
    return (error * seen).sum() / seen.sum()  # here


def mean_of_something(p: Any, b: Any) -> Any:
    seen = b[:, 0] > 99.0
    error = ((b @ p["w"]) ** 2).sum(-1)
    return (error * seen).sum() / jnp.maximum(seen.sum(), 1)


def unsafe_where(p: Any, b: Any) -> Any:
    h = (b @ p["w"]) ** 2 * (b[:, :1] > 0)
    root = jnp.sqrt(h)  # here
    return jnp.where(h > 0, root, 0.0).sum()


def double_where(p: Any, b: Any) -> Any:
    h = (b @ p["w"]) ** 2 * (b[:, :1] > 0)
    root = jnp.sqrt(jnp.where(h > 0, h, 1.0))
    return jnp.where(h > 0, root, 0.0).sum()


def log_behind_where(p: Any, b: Any) -> Any:
    h = b @ p["w"] * (b[:, :1] > 0)
    logs = jnp.log(h * h)  # here
    return jnp.where(h != 0, logs, 0.0).sum()


def log_behind_two(p: Any, b: Any) -> Any:
    h = b @ p["w"] * (b[:, :1] > 0)
    logs = jnp.log(jnp.where(h != 0, h * h, 1.0))
    return jnp.where(h != 0, logs, 0.0).sum()


def division_behind_where(p: Any, b: Any) -> Any:
    h = b @ p["w"] * (b[:, :1] > 0)
    ratio = b[:, :3] / h  # here
    return jnp.where(h != 0, ratio, 0.0).sum()


def division_behind_two(p: Any, b: Any) -> Any:
    h = b @ p["w"] * (b[:, :1] > 0)
    ratio = b[:, :3] / jnp.where(h != 0, h, 1.0)
    return jnp.where(h != 0, ratio, 0.0).sum()


def exp_overflow(p: Any, b: Any) -> Any:
    e = jnp.exp(1000 * jnp.abs(b @ p["w"]))  # here
    return (e / e.sum(-1, keepdims=True))[:, 0].sum()


def exp_of_difference(p: Any, b: Any) -> Any:
    h = 1000 * jnp.abs(b @ p["w"])
    e = jnp.exp(h - h.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True))[:, 0].sum()


def power_at_zero(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return ((h - h) ** 0.5).sum()  # here


def power_above_one(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return ((h - h) ** 1.5).sum()


def power_of_negative(p: Any, b: Any) -> Any:
    return ((b @ p["w"]) ** 1.5).sum()  # here


def power_of_two(p: Any, b: Any) -> Any:
    return ((b @ p["w"]) ** 2).sum()


def log_of_base(p: Any, b: Any) -> Any:
    return jnp.power(-2.0, p["w"][0, 0] * 0 + 2)  # here


def log_of_positive_base(p: Any, b: Any) -> Any:
    return jnp.power(2.0, p["w"][0, 0] * 0 + 2)


def angle_at_origin(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return jnp.arctan2(h - h, h - h).sum()  # here


def angle_off_origin(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return jnp.arctan2(h, 0 * h + 1.0).sum()


def half_overflow(p: Any, b: Any) -> Any:
    h = jnp.abs(b @ p["w"]).astype(jnp.float16)
    return (h * 60000.0).mean().astype(jnp.float32)  # here


def bfloat16(p: Any, b: Any) -> Any:
    h = jnp.abs(b @ p["w"]).astype(jnp.bfloat16)
    return (h * 60000.0).mean().astype(jnp.float32)


def half_cast(p: Any, b: Any) -> Any:
    h = 1e6 * b @ p["w"]
    return h.astype(jnp.float16).sum().astype(jnp.float32)  # here


def overflow_of_product(p: Any, b: Any) -> Any:
    h = 1e30 * b @ p["w"]
    return jnp.mean(h * h)  # here


def product_in_range(p: Any, b: Any) -> Any:
    h = 1e15 * b @ p["w"]
    return jnp.mean(h * h)


def exploding_activations(p: Any, b: Any) -> Any:
    h = b
    for _ in range(8):
        h = h @ (1e6 * jnp.pad(p["w"], ((0, 0), (0, 1))))  # here
    return h.sum()


def normalized_activations(p: Any, b: Any) -> Any:
    h = b
    for _ in range(8):
        h = h @ (1e6 * jnp.pad(p["w"], ((0, 0), (0, 1))))
        h = h / jnp.linalg.norm(h, axis=-1, keepdims=True)
    return h.sum()


def infinity_minus_infinity(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    top = jnp.where(h > 0, jnp.inf, h)
    return (top - jnp.where(h > 0, jnp.inf, 0.0)).sum()  # here


def infinite_start(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    best = jnp.inf
    for i in range(3):
        best = jnp.minimum(best, h[:, i])
    return best.sum() + jnp.min(h, initial=jnp.inf)


def masked_row(p: Any, b: Any) -> Any:
    scores = jnp.where(b[:, :1] > 0, b @ p["w"], -jnp.inf)
    return (jax.nn.softmax(scores) ** 2).sum()  # here


def masked_part(p: Any, b: Any) -> Any:
    scores = jnp.where(jnp.arange(3) > 0, b @ p["w"], -jnp.inf)
    return (jax.nn.softmax(scores) ** 2).sum()


def label_outside(p: Any, b: Any) -> Any:
    scores = jax.nn.log_softmax(b @ p["w"])
    return -jnp.take_along_axis(scores, jnp.full((len(b), 1), 3), axis=1).mean()  # here


def ignored_label(p: Any, b: Any) -> Any:
    labels = jnp.arange(len(b))[:, None] % 2 * 102 - 100  # -100: ignored, as in PyTorch
    found = jnp.take_along_axis(jax.nn.log_softmax(b @ p["w"]), labels, axis=1)
    return -jnp.where(labels < 0, 0.0, found).mean()


def equal_values(p: Any, b: Any) -> Any:
    values, vectors = jnp.linalg.eigh(p["w"][0, 0] * jnp.eye(3))  # here
    return (vectors[:, 0] * jnp.arange(3.0)).sum() + values.sum()


def different_values(p: Any, b: Any) -> Any:
    values, vectors = jnp.linalg.eigh(p["w"][0, 0] * jnp.diag(jnp.arange(3.0)))
    return (vectors[:, 0] * jnp.arange(3.0)).sum() + values.sum()


def equal_singular_values(p: Any, b: Any) -> Any:
    left, values, _ = jnp.linalg.svd(p["w"][0, 0] * jnp.eye(3))  # here
    return (left[:, 0] * jnp.arange(3.0)).sum() + values.sum()


def values_alone(p: Any, b: Any) -> Any:
    return jnp.linalg.eigvalsh(p["w"][0, 0] * jnp.eye(3)).sum()


def not_positive_definite(p: Any, b: Any) -> Any:
    gram = p["w"].T @ p["w"]
    return jnp.linalg.cholesky(gram - 99.0 * jnp.eye(3)).sum()  # here


def positive_definite(p: Any, b: Any) -> Any:
    gram = p["w"].T @ p["w"]
    return jnp.linalg.cholesky(gram + jnp.eye(3)).sum()


def outside_domain(p: Any, b: Any) -> Any:
    return jnp.arccos(3.0 + (b @ p["w"]) ** 2).sum()  # here


def inside_domain(p: Any, b: Any) -> Any:
    return jnp.arccos(0.9 * jnp.tanh(b @ p["w"])).sum()


def edge_of_domain(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    cosine = (h * h).sum(-1) / (h * h).sum(-1)
    return jnp.arccos(cosine).sum()  # here


def clipped_domain(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    cosine = (h * h).sum(-1) / (h * h).sum(-1)
    return jnp.arccos(jnp.clip(cosine, -0.999, 0.999)).sum()


def pole(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return jax.scipy.special.gammaln(h - h).sum()  # here


def off_the_pole(p: Any, b: Any) -> Any:
    h = b @ p["w"]
    return jax.scipy.special.gammaln(h - h + 0.5).sum()


def entropy(p: Any, b: Any) -> Any:
    q = jnp.maximum(b @ p["w"], 0.0)
    return -(q * jnp.log(q)).sum()  # here


def safe_entropy(p: Any, b: Any) -> Any:
    return jax.scipy.special.entr(jnp.maximum(b @ p["w"], 0.0) + 1e-3).sum()


def constant_nan(p: Any, b: Any) -> Any:
    scale = jnp.array([1.0, jnp.nan, 2.0])
    return (b @ p["w"] * scale).sum()  # here


def missing_constant(p: Any, b: Any) -> Any:
    scale = jnp.nan_to_num(jnp.array([1.0, jnp.nan, 2.0]))
    return (b @ p["w"] * scale).sum()


CASES = [
    Case(Cause.LOG_OF_ZERO, log_of_zero, log_of_guarded, "log", (0.0,)),
    Case(Cause.LOG_OF_ZERO, entropy, safe_entropy, "log", (0.0,)),
    Case(Cause.LOG_OF_SOFTMAX, log_of_softmax, log_softmax, "log", (0.0,)),
    Case(Cause.LOG_OF_SIGMOID, log_of_sigmoid, log_sigmoid, "log", (0.0,)),
    Case(Cause.LOG_OF_NEGATIVE, log_of_negative, log_of_positive, "log"),
    Case(Cause.ROOT_AT_ZERO, root_at_zero, root_off_zero, "sqrt", (0.0,), True),
    Case(Cause.NORM_AT_ZERO, norm_at_zero, norm_off_zero, "sqrt", (0.0,), True),
    Case(Cause.STD_OF_CONSTANT, std_of_constant, std_of_spread, "sqrt", (0.0,), True),
    Case(Cause.ROOT_OF_NEGATIVE, root_of_negative, root_of_absolute, "sqrt"),
    Case(Cause.DIVISION_BY_ZERO, division_by_zero, division_by_guarded, "div", (2.0, 0.0)),
    Case(Cause.DIVISION_BY_ZERO, reciprocal_root, reciprocal_root_guarded, "rsqrt", (0.0,)),
    Case(Cause.ZERO_OVER_ZERO, zero_over_zero, zero_over_guarded, "div", (0.0, 0.0)),
    Case(Cause.MEAN_OF_NOTHING, mean_of_nothing, mean_of_something, "div", (0.0, 0.0)),
    Case(Cause.UNSAFE_WHERE, unsafe_where, double_where, "sqrt", (0.0,), True),
    Case(Cause.UNSAFE_WHERE, log_behind_where, log_behind_two, "log", (0.0,), True),
    Case(Cause.UNSAFE_WHERE, division_behind_where, division_behind_two, "div", None, True),
    Case(Cause.EXP_OVERFLOW, exp_overflow, exp_of_difference, "exp"),
    Case(Cause.POWER_AT_ZERO, power_at_zero, power_above_one, "pow", (0.0, 0.5), True),
    Case(Cause.POWER_OF_NEGATIVE, power_of_negative, power_of_two, "pow"),
    Case(Cause.POWER_OF_NEGATIVE, log_of_base, log_of_positive_base, "pow", (-2.0, 2.0), True),
    Case(Cause.ANGLE_AT_ORIGIN, angle_at_origin, angle_off_origin, "atan2", (0.0, 0.0), True),
    Case(Cause.HALF_PRECISION, half_overflow, bfloat16, "mul"),
    Case(Cause.HALF_PRECISION, half_cast, bfloat16, "convert_element_type"),
    Case(Cause.OVERFLOW, overflow_of_product, product_in_range, "mul"),
    Case(Cause.OVERFLOW, exploding_activations, normalized_activations, "dot_general"),
    Case(Cause.INFINITY_MINUS_INFINITY, infinity_minus_infinity, infinite_start, "sub", (INF, INF)),
    Case(Cause.MASKED_ROW, masked_row, masked_part, "sub", (-INF, -INF)),
    Case(Cause.OUTSIDE_INDEX, label_outside, ignored_label, "gather"),
    Case(Cause.EQUAL_VALUES, equal_values, different_values, "eigh", (), True),
    Case(Cause.EQUAL_VALUES, equal_singular_values, values_alone, "svd", (), True),
    Case(Cause.SINGULAR_MATRIX, not_positive_definite, positive_definite, "cholesky"),
    Case(Cause.OUTSIDE_DOMAIN, outside_domain, inside_domain, "acos"),
    Case(Cause.EDGE_OF_DOMAIN, edge_of_domain, clipped_domain, "acos", (1.0,), True),
    Case(Cause.OUTSIDE_DOMAIN, pole, off_the_pole, "lgamma", (0.0,)),
    Case(Cause.CONSTANT, constant_nan, missing_constant, "constant", ()),
]


@pytest.mark.few(12)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sick.__name__)
def test_a_sick_loss_is_named_at_its_line_with_its_operands(case: Case) -> None:
    assert not is_finite(case.sick)
    found = origin_of(case.sick)
    assert found.cause is case.cause
    assert found.source is not None
    assert found.source.line == marked_line(case.sick)
    assert found.source.text.endswith("# here")
    assert (found.derivative_of is not None) == case.backward
    assert case.of == (found.derivative_of or found.op)
    if case.operands is not None:
        assert case.operands == (found.forward_operands if case.backward else found.operands)


@pytest.mark.few(6)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sick.__name__)
def test_its_twin_is_finite_and_nothing_is_looked_for(case: Case) -> None:
    assert is_finite(case.twin)


def test_an_infinity_and_what_it_became_are_both_told() -> None:
    found = origin_of(root_at_zero)
    assert (found.op, found.operands, found.result) == ("div", (0.5, 0.0), INF)
    assert found.became is not None
    assert found.became.op == "mul"
    assert sorted(found.became.operands) == [0.0, INF]
    assert math.isnan(found.became.result)


def test_the_poisoned_parameters_are_those_behind_it() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = b @ p["first"]
        return jnp.sqrt((h - h) ** 2).sum() + (h @ p["second"]).sum()  # here

    eye = jnp.eye(4)
    found = origin_of(loss, {"first": eye, "second": eye, "third": eye})
    assert found.poisoned == ("first",)
    assert found.layer == "first"


def test_what_led_up_to_it_is_shown_with_its_ranges() -> None:
    found = origin_of(exploding_activations)
    products = [step for step in found.lead_up if step.op == "dot_general"]
    sizes = [max(-step.low, step.high) for step in products]
    assert sizes == sorted(sizes)
    assert len(sizes) >= 3
    assert all(step.nonfinite == 0 for step in products)
