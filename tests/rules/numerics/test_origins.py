"""How an origin is told: the numbers, the reason, the remedy. Records only: no JAX."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gradscope.nonfinite.causes import cause_of
from gradscope.records import Calculation, Cause, Finding, Hazard, NonFiniteInput, Operation, Origin, Severity
from gradscope.rules.numerics.remedies import EXPLAINED
from tests.rules.made import found, layer, measured, parameter, source

INF, NAN = math.inf, math.nan


def origin(op: str, operands: tuple[float, ...], result: float, **fields) -> Origin:
    usual = Origin(
        op, operands, result, (), False, Cause.OTHER, source(21), layer="head", poisoned=("head.w",)
    )
    made = replace(usual, **fields)
    return made if "cause" in fields else replace(made, cause=cause_of(made))


def told(of: Origin, **fields) -> Finding:
    bad = parameter("head.w", gradient_max=NAN)
    measurement = measured([layer("head", 1)], [bad], **({"loss": NAN, "origin": of} | fields))
    (finding,) = found(measurement, "non-finite")
    return finding


def steps(*ops: str) -> tuple[Operation, ...]:
    return tuple(Operation(op, None, 0.0, 1.0, 0) for op in ops)


ROOT = {
    "derivative_of": "sqrt",
    "forward_operands": (0.0,),
    "became": Calculation("mul", (0.0, INF), NAN),
    "elements": 12,
    "size": 144,
}


def test_a_derivative_is_told_from_the_forward_operation_to_the_nan() -> None:
    finding = told(origin("div", (0.5, 0.0), INF, **ROOT))
    assert finding.message.startswith(
        "`sqrt` at 0 (12 of 144 elements): its derivative is 0.5 / 0 = inf, then 0 * inf = NaN."
    )
    assert "The loss is NaN. The gradient of 1 parameter is not finite: `head.w`." in finding.message
    assert (finding.layer, finding.source, finding.severity) == ("head", source(21), Severity.ERROR)
    assert finding.evidence["cause"] == "root-at-zero"
    assert finding.evidence["op"] == "sqrt"
    assert finding.evidence["operand_1"] == 0


def test_a_forward_operation_is_told_with_its_operands() -> None:
    assert told(origin("log", (0.0,), -INF)).message.startswith("`log` at 0 gives -inf. ")
    assert told(origin("div", (2.0, -0.0), -INF)).message.startswith("`div`: 2 / 0 = -inf. ")


def test_an_index_outside_is_told_without_the_value_that_was_not_taken() -> None:
    finding = told(origin("gather", (-3.48, 7.0), NAN))
    assert finding.message.startswith(
        "`gather` reads outside of its array. An index lies outside of the array"
    )


def test_the_iteration_counts_from_one() -> None:
    finding = told(origin("mul", (1e30, 1e30), INF, steps=(6, 2)))
    assert "at step 7 of the loop, step 3 of the loop inside it" in finding.message
    assert (finding.evidence["step_1"], finding.evidence["step_2"]) == (6, 2)


def test_a_custom_rule_is_named() -> None:
    rule = origin("div", (1.0, 0.0), INF, cause=Cause.CUSTOM_RULE, derivative_of="swish", backward=True)
    assert told(rule).message.startswith("The derivative rule of `swish`: 1 / 0 = inf.")


def test_a_leaf_that_did_the_harm_goes_before_others() -> None:
    inputs = (NonFiniteInput("x", 1, 9), NonFiniteInput("y", 2, 9))
    leaf = origin("batch.y", (), NAN, cause=Cause.BATCH)
    finding = told(leaf, nonfinite_inputs=inputs)
    assert finding.message.startswith("`batch.y` holds 2 values of 9")
    assert "The same holds for `batch.x`" in finding.message


def test_a_batch_with_missing_values_is_not_blamed_for_an_operation() -> None:
    finding = told(origin("log", (0.0,), -INF), nonfinite_inputs=(NonFiniteInput("x", 1, 9),))
    assert finding.message.startswith("`log` at 0")


def test_an_origin_without_harm_is_no_finding() -> None:
    healthy = measured([layer("head", 1)], origin=origin("log", (0.0,), -INF))
    assert not found(healthy, "non-finite")


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_its_reason_and_one_remedy_in_code(cause: Cause) -> None:
    why, remedy = EXPLAINED[cause]
    assert why.endswith(".")
    assert remedy.endswith(".")
    assert "`" in remedy or cause in (Cause.PARAMETER, Cause.CONSTANT, Cause.UNSEEN)


BELOW = {"backward": True, "derivative_of": "log", "forward_operands": (0.0,)}
NAMED = [
    (origin("log", (0.0,), -INF), Cause.LOG_OF_ZERO),
    (origin("log", (-1.0,), NAN), Cause.LOG_OF_NEGATIVE),
    (origin("log1p", (-1.0,), -INF), Cause.LOG_OF_ZERO),
    (origin("log", (0.0,), -INF, lead_up=steps("exp", "reduce_sum", "div")), Cause.LOG_OF_SOFTMAX),
    (origin("log", (0.0,), -INF, lead_up=steps("exp", "mul", "add")), Cause.LOG_OF_ZERO),
    (origin("log", (0.0,), -INF, lead_up=steps("mul", "logistic", "sub")), Cause.LOG_OF_SIGMOID),
    (origin("div", (0.0, 0.0), NAN, **BELOW), Cause.LOG_OF_ZERO),
    (origin("div", (0.0, 0.0), NAN, masked=True, **BELOW), Cause.UNSAFE_WHERE),
    (origin("div", (0.5, 0.0), INF, **ROOT, within=("norm",)), Cause.NORM_AT_ZERO),
    (origin("div", (0.5, 0.0), INF, **ROOT, within=("_std", "f")), Cause.STD_OF_CONSTANT),
    (origin("div", (0.5, 0.0), INF, **ROOT, masked=True), Cause.UNSAFE_WHERE),
    (origin("sqrt", (-1e-9,), NAN), Cause.ROOT_OF_NEGATIVE),
    (origin("div", (0.0, 0.0), NAN, made_by=("reduce_sum", "reduce_sum")), Cause.MEAN_OF_NOTHING),
    (origin("div", (0.0, 0.0), NAN, made_by=("max", "reduce_sum")), Cause.ZERO_OVER_ZERO),
    (origin("div", (1e38, 1e-9), INF), Cause.OVERFLOW),
    (origin("div", (INF, INF), NAN), Cause.INFINITY_OVER_INFINITY),
    (origin("mul", (0.0, INF), NAN), Cause.ZERO_TIMES_INFINITY),
    (origin("sub", (INF, INF), NAN), Cause.INFINITY_MINUS_INFINITY),
    (origin("sub", (-INF, -INF), NAN), Cause.MASKED_ROW),
    (origin("gather", (0.5, 7.0), NAN), Cause.OUTSIDE_INDEX),
    (origin("exp", (89.0,), INF), Cause.EXP_OVERFLOW),
    (origin("mul", (300.0, 300.0), INF, dtype="float16"), Cause.HALF_PRECISION),
    (origin("mul", (1e30, 1e30), INF, steps=(0,)), Cause.OVERFLOW),
    (origin("mul", (1e30, 1e30), INF, steps=(4,)), Cause.GROWTH_IN_LOOP),
    (origin("pow", (0.0, -1.0), INF), Cause.POWER_AT_ZERO),
    (origin("pow", (-2.0, 0.5), NAN), Cause.POWER_OF_NEGATIVE),
    (origin("pow", (1e30, 2.0), INF), Cause.OVERFLOW),
    (origin("erf_inv", (1.0,), INF), Cause.OUTSIDE_DOMAIN),
    (origin("scan", (), NAN), Cause.UNSEEN),
    (origin("unheard_of", (), NAN), Cause.OTHER),
]


@pytest.mark.parametrize(("made", "cause"), NAMED)
def test_the_case_is_named_from_the_operation_and_its_operands(made: Origin, cause: Cause) -> None:
    assert made.cause is cause


def test_in_a_library_the_call_is_to_be_changed_and_not_the_line() -> None:
    at_zero = {**ROOT, "library": "optax"}
    assert (
        "eps_root=1e-8"
        in told(origin("div", (0.5, 0.0), INF, **at_zero, settings=("eps", "eps_root"))).remedy
    )
    assert "a larger `eps`" in told(origin("div", (0.5, 0.0), INF, **at_zero, settings=("eps",))).remedy
    assert "guard the call" in told(origin("div", (0.5, 0.0), INF, **at_zero)).remedy


def test_what_is_wrong_with_the_operand_has_the_same_remedy_in_a_library() -> None:
    cholesky = origin("cholesky", (0.0,), NAN, library="jax")
    assert told(cholesky).remedy == EXPLAINED[Cause.SINGULAR_MATRIX][1]


def test_where_the_layer_of_the_operands_is_finite_one_that_was_harmed_is_named() -> None:
    layers, leaves = [layer("w", 0), layer("gain", 1)], [parameter("w"), parameter("gain", gradient_max=NAN)]
    at = origin("div", (0.5, 0.0), INF, **ROOT)
    for own, loss, told_as in (("w", 0.0, "gain"), ("gain", 0.0, "gain"), ("w", NAN, "w"), (None, 0.0, None)):
        found_at = replace(at, layer=own, poisoned=("gain",))
        (finding,) = found(measured(layers, leaves, origin=found_at, loss=loss), "non-finite")
        assert finding.layer == told_as


def test_inside_what_was_run_as_a_whole_the_expression_on_its_singular_point_is_told() -> None:
    at = origin("shard_map", (1.0, 2.0), NAN, derivative_of="shard_map", library="jax")
    near = Hazard("unsafe-where", "div", source(9), None, 0.36, 0.0, 0.36, 1e-38, 0.0, 0, "float32")
    on_it = replace(near, source=source(12), on_it=1)
    assert at.cause is Cause.UNSEEN
    finding = told(at, hazards=(near, on_it))
    assert finding.source == source(12)
    assert finding.message.startswith(
        "`shard_map`: its derivative is NaN. gradscope ran this operation as a whole"
    )
    assert (
        "1 element of `div` at model.py:12 lies on its singular point, which can be the cause"
        in finding.message
    )
    assert "x_safe" in finding.remedy
    assert told(at, hazards=(near,)).source == source(21)
    elsewhere = origin("log", (0.0,), -INF)
    assert told(elsewhere, hazards=(on_it,)).source == source(21)
