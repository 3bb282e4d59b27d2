"""non-finite: the order of blame, and what is masked on purpose."""

from __future__ import annotations

import math

from gradscope.records import NonFiniteInput, NonFiniteValue, Severity
from tests.rules.made import chain, decay, found, judge, layer, measured, parameter, source

RULE = "non-finite"
NAN = math.nan
BAD = {"gradient_rms": NAN, "gradient_norm": NAN, "gradient_max": NAN}
FORWARD = NonFiniteValue("layers[1]", True, source(21), step=4)


def sick(**fields):
    """Three layers; the gradients of the first two are NaN."""
    layers = [layer(f"layers[{i}]", i + 1) for i in range(3)]
    broken = fields.pop("broken", 0)
    leaves = [
        parameter(f"layers[{i}].w", weight_nonfinite=broken if i == 1 else 0, **(BAD if i < 2 else {}))
        for i in range(3)
    ]
    return measured(layers, leaves, **fields)


def back(i):
    return NonFiniteValue(f"layers[{i}]", False, source(30 + i))


def test_a_parameter_comes_first():
    everything = sick(
        broken=3, loss=NAN, nonfinite_inputs=(NonFiniteInput("x", 1, 9),), nonfinite_values=(FORWARD,)
    )
    (finding,) = found(everything, RULE)
    assert finding.parameter == "layers[1].w"
    assert "3 values of 1024" in finding.message
    assert "The gradient of 2 parameters is not finite: `layers[0].w` and `layers[1].w`" in finding.message


def test_the_batch_comes_next():
    measurement = sick(
        loss=NAN,
        nonfinite_inputs=(NonFiniteInput("x", 1, 9), NonFiniteInput("y", 2, 9)),
        nonfinite_values=(FORWARD,),
    )
    (finding,) = found(measurement, RULE)
    assert finding.severity is Severity.ERROR
    assert "`batch.x` holds 1 value of 9" in finding.message
    assert "The same holds for `batch.y`" in finding.message


def test_the_first_forward_value_comes_next_with_its_step_and_line():
    (finding,) = found(sick(loss=NAN, nonfinite_values=(FORWARD, back(0))), RULE)
    assert (finding.layer, finding.source) == ("layers[1]", source(21))
    assert "at step 5" in finding.message


def test_a_forward_value_that_is_masked_forward_only_gets_the_two_wheres():
    (finding,) = found(sick(nonfinite_values=(FORWARD,)), RULE)
    assert "it masks this value, but the backward pass does not" in finding.message
    assert "jnp.where" in finding.remedy


def test_a_loss_after_finite_layers_blames_the_loss():
    (finding,) = found(sick(loss=math.inf, nonfinite_values=(back(2),)), RULE)
    assert finding.layer is None
    assert "the origin is in the loss itself" in finding.message
    assert "The loss is inf" in finding.message


def test_of_the_backward_values_the_one_nearest_to_the_loss_is_named():
    for values in [(back(0), back(1)), (back(1), back(0))]:
        (finding,) = found(sick(nonfinite_values=values), RULE)
        assert finding.layer == "layers[1]"
        assert finding.source == source(31)


def test_a_gradient_alone_is_named_last():
    (finding,) = found(sick(), RULE)
    assert finding.parameter == "layers[1].w"


def test_a_value_that_reaches_nothing_is_masked_on_purpose():
    healthy = chain([1.0, 1.0])
    masked = measured(healthy.layers, healthy.parameters, nonfinite_values=(FORWARD,))
    assert not found(masked, RULE)


def test_missing_values_that_are_masked_are_a_note_and_silence_nothing():
    vanishing = chain(decay(8, 0.1))
    masked = measured(vanishing.layers, vanishing.parameters, nonfinite_inputs=(NonFiniteInput("x", 1, 9),))
    findings, _ = judge(masked)
    assert [(one.rule, one.severity) for one in findings] == [
        ("vanishing-gradient", Severity.ERROR),
        (RULE, Severity.NOTE),
    ]


def test_an_infinity_that_is_stored_without_harm_is_a_warning():
    (finding,) = found(measured([layer("a", 1)], [parameter("a.mask", weight_nonfinite=4)]), RULE)
    assert finding.severity is Severity.WARNING


def test_a_norm_that_overflows_is_not_counted():
    assert not found(measured([layer("a", 1)], [parameter("a.w", gradient_norm=math.inf)]), RULE)


def test_it_silences_what_cannot_be_judged_and_names_it():
    vanishing = chain(decay(8, 0.1))
    findings, _ = judge(measured(vanishing.layers, vanishing.parameters, loss=NAN))
    assert [one.rule for one in findings] == [RULE]
    assert findings[0].evidence["silenced"] == "vanishing-gradient"
    assert "vanishing-gradient at `layers[0]`" in findings[0].message


def test_a_finite_run_is_silent():
    assert not found(chain([1.0] * 5), RULE)
