"""How an infinity that is divided away is told, and what it explains. Records only: no JAX."""

from __future__ import annotations

import math

from gradscope.records import Calculation, Cause, Finding, LostInfinity, Measurement, Origin, Severity
from tests.rules.made import found, judge, layer, measured, parameter, source, zero

INF = math.inf


def lost(cause: Cause = Cause.HALF_PRECISION, dtype: str = "float16", **fields) -> LostInfinity:
    origin = Origin(
        *("mul", (300.0, 300.0), INF, ("dot_general",), False, cause, source(21)),
        **{"dtype": dtype, "elements": 7, "size": 64, "layer": "head", "poisoned": ("body.w", "head.w")}
        | fields,
    )
    return LostInfinity(origin, Calculation("div", (300.0, INF), 0.0), source(22), 65504.0)


def dead(infinity: LostInfinity | None, **fields) -> Measurement:
    layers = [layer(name, i, 0.0, activation=None, nonzero_after_steps=False, **zero()) for i, name in NAMED]
    leaves = [parameter(f"{name}.w", nonzero_after_steps=False, **zero()) for _, name in NAMED]
    return measured(layers, leaves, lost_infinity=infinity, **fields)


NAMED = [(0, "body"), (1, "head")]


def told(infinity: LostInfinity) -> Finding:
    (finding,) = found(dead(infinity), "non-finite")
    return finding


def test_it_is_told_from_its_birth_to_the_gradient() -> None:
    finding = told(lost())
    assert finding.message == (
        "`mul`: 300 * 300 = inf (7 of 64 elements). The largest float16 is 65504. It is an infinity "
        "that is divided away: 300 / inf = 0 (model.py:22), and so is the derivative. So the loss is "
        "finite, and the gradient of 2 parameters is exactly zero: `body.w` and `head.w`. With the largest "
        "finite float16 in its place (65504) it is not zero."
    )
    assert (finding.severity, finding.layer, finding.source) == (Severity.ERROR, "head", source(21))
    assert finding.evidence["gone_in"] == "div"
    assert "float32" in finding.remedy


def test_the_zero_gradients_are_its_symptoms() -> None:
    findings, _ = judge(dead(lost()))
    assert [finding.rule for finding in findings] == ["non-finite"]
    assert findings[0].evidence["silenced"] == "zero-gradient"


def test_it_explains_no_layer_that_it_did_not_make_zero() -> None:
    findings, _ = judge(dead(lost(layer=None, poisoned=("other.w",))))
    assert [finding.rule for finding in findings] == ["non-finite", "zero-gradient"]


def test_a_norm_in_float32_is_scaled_and_a_loop_is_named() -> None:
    finding = told(lost(Cause.OVERFLOW, "float32", within=("norm",), steps=(3,)))
    assert "x / m" in finding.remedy
    assert "It happens at step 4 of the loop." in finding.message


def test_what_is_not_finite_in_the_end_comes_first() -> None:
    (finding,) = found(dead(lost(), loss=math.nan), "non-finite")
    assert "divided away" not in finding.message
