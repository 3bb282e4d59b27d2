"""`unnormalized-input` and `unscaled-target` at their limits."""

from __future__ import annotations

import math
from typing import Any

from gradscope.records import FillValue, Finding, StandardizedArray, TriedOffset
from gradscope.rules import Parts, judge
from tests.rules.training.made import trained


def array(**fields: Any) -> StandardizedArray:
    defaults: dict[str, Any] = {
        "name": "x",
        "is_input": True,
        "rms": 120.0,
        "off_center": 1.5,
        "uneven": 1.0,
        "steps": 100,
        "start_without": 2.0,
        "end_without": 1.5,
        "start": 2.0,
        "end": 0.5,
    }
    return StandardizedArray(**(defaults | fields))


def found(**fields: Any) -> list[Finding]:
    return list(judge(Parts(training=trained(standardized=(array(**fields),))))[0])


def test_an_input_is_told_where_the_loss_ends_twice_as_high() -> None:
    assert found(end_without=1.01)[0].rule == "unnormalized-input"
    assert found(end_without=0.99) == []
    assert found(end=2.0, end_without=5.0) == []


def test_it_is_an_error_where_the_users_steps_do_harm() -> None:
    assert found(end_without=1.9)[0].severity.value == "warning"
    assert found(end_without=2.1)[0].severity.value == "error"
    assert found(end_without=math.nan)[0].severity.value == "error"


def test_it_is_an_error_where_it_keeps_gradients_at_zero() -> None:
    (finding,) = found(end_without=1.9, revived=("cell.w",))
    assert finding.severity.value == "error"
    assert "the gradient of `cell.w` is exactly zero; with it standardized it is not" in finding.message


def test_a_loss_that_is_not_finite_is_said_to_be_so() -> None:
    assert "end at a loss that is not finite; with" in found(end_without=math.nan)[0].message


def test_it_is_a_note_where_the_steps_do_their_work_as_it_is() -> None:
    assert found(end=0.01, end_without=0.99, rms=1.0)[0].severity.value == "note"
    assert found(end=0.01, end_without=0.99)[0].severity.value == "warning"
    assert found(end=0.01, end_without=1.01)[0].severity.value == "warning"


def test_losses_below_zero_have_no_ratio() -> None:
    assert found(start=-1.0, end=-3.0, end_without=-0.5) == []


def test_a_target_is_told_by_the_share_of_the_loss() -> None:
    (finding,) = found(is_input=False, end=1.0, end_without=1.9)
    assert (finding.rule, finding.severity.value) == ("unscaled-target", "warning")
    assert found(is_input=False, end=1.0, end_without=1.6) == []
    assert found(is_input=False, end=1.9, end_without=2.0) == []


def test_one_feature_that_hides_the_others_is_told_by_how_far_the_loss_falls() -> None:
    fields = {"uneven": 30_000.0, "start": 0.733, "end": 0.516, "start_without": 0.722}
    (told,) = found(**fields, end_without=0.691)
    assert (told.rule, told.severity.value) == ("unnormalized-input", "warning")
    assert found(**fields, end_without=0.66) == [], "the loss falls well as it is"
    assert found(**fields | {"uneven": 900.0}, end_without=0.691) == []
    assert found(**fields | {"end": 0.6}, end_without=0.691) == [], "hardly lower"


def offset(**fields: Any) -> list[Finding]:
    defaults: dict[str, Any] = {
        "name": "y",
        "source": None,
        "layer": "head",
        "mean": 3.0,
        "rms": 3.1,
        "off_center": 4.5,
        "steps": 100,
        "start_without": 9.0,
        "end_without": 8.1,
        "start": 1.0,
        "end": 0.1,
    }
    target = array(name="y", is_input=False, start_without=9.0, end_without=8.1, start=1.0, end=0.1)
    tried = TriedOffset(**(defaults | fields))
    return list(judge(Parts(training=trained(standardized=(target,), offsets=(tried,))))[0])


def test_a_missing_bias_speaks_for_the_scale_of_the_target() -> None:
    (finding,) = offset()
    assert (finding.rule, finding.severity.value, finding.layer) == ("missing-bias", "warning", "head")
    assert "a mean of 3, 4.5 standard deviations from 0" in finding.message
    assert "with the mean taken off, as a bias of the output would do, from 1 to 0.1" in finding.message
    assert finding.evidence["silenced"] == "unscaled-target"


def test_a_missing_bias_is_told_at_its_limits_and_no_further() -> None:
    assert offset(end=0.71)[0].rule == "unscaled-target"
    assert offset(end=0.69)[0].rule == "missing-bias"
    assert offset(end_without=8.95, end=0.91)[0].rule == "unscaled-target"
    assert offset(end=math.nan)[0].rule == "unscaled-target"


def test_a_missing_bias_is_an_error_where_the_users_steps_do_harm() -> None:
    assert offset(end_without=9.1)[0].severity.value == "error"


def fill(**fields: Any) -> FillValue:
    defaults: dict[str, Any] = {
        "feature": 3,
        "value": -9999.0,
        "share": 0.15,
        "lowest": 0.4,
        "highest": 9.6,
        "median": 5.0,
    }
    return FillValue(**(defaults | fields))


PRESSED = {"value": -2.38, "lowest": 0.41981, "highest": 0.42031}


def test_a_number_that_may_stand_for_missing_ones_is_named_and_standardizing_alone_is_not_advised() -> None:
    (finding,) = found(end_without=1.9, fills=(fill(), fill(feature=5)))
    assert (finding.rule, finding.severity.value) == ("unnormalized-input", "warning")
    assert (
        "15% of column 3 of the input `x` are exactly -9999, and all others lie between 0.4 and 9.6"
        in finding.message
    )
    assert "1 other column has such a number, too" in finding.message
    assert "put the median of the others of its column there before anything is scaled" in finding.remedy
    assert "Subtract the mean" not in finding.remedy


def test_it_is_told_where_the_array_was_standardized_with_it_inside() -> None:
    (finding,) = found(rms=1.0, off_center=0.0, end=0.4, end_without=0.5, fills=(fill(**PRESSED),))
    assert finding.severity.value == "warning"
    assert "are exactly -2.38, and all others lie between 0.41981 and 0.42031" in finding.message
    assert "as -9999 does" in finding.remedy


def test_it_is_a_note_where_the_loss_does_not_end_lower_without_it() -> None:
    assert found(rms=1.0, end=0.5, end_without=0.5, fills=(fill(),))[0].severity.value == "note"


def test_one_that_may_be_the_log_of_an_epsilon_is_told_where_the_loss_ends_clearly_lower_without_it() -> None:
    floor = fill(value=-18.42, lowest=-0.1, highest=1.1)
    assert found(rms=1.0, off_center=0.0, end=0.41, end_without=0.5, fills=(floor,)) == []
    assert found(rms=1.0, off_center=0.0, end=0.39, end_without=0.5, fills=(floor,)) != []
    far = fill(value=-121.0 + 1e-3, lowest=-0.1, highest=1.1)
    assert found(rms=1.0, off_center=0.0, end=0.41, end_without=0.5, fills=(far,)) != []


def test_a_number_of_all_others_and_an_array_without_columns_are_worded_so() -> None:
    (finding,) = found(fills=(fill(feature=None, value=65535.0, lowest=2.0, highest=2.0),))
    assert "15% of the input `x` are exactly 65535, and all others are 2" in finding.message
    assert "column" not in finding.evidence
