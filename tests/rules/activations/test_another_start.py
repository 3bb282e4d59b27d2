"""How grave a sign is where rescaled weights were tried, by what the steps end at from both starts."""

from __future__ import annotations

from gradscope.records import Severity
from gradscope.rules.activations.another_start import tried
from tests.rules.activations.made import another_start
from tests.rules.training.made import trained


def grave(end: float, end_without: float) -> Severity | None:
    return tried(trained(rescaled=another_start(end, end_without)))[0]


def test_it_is_a_note_where_the_other_start_brings_nothing() -> None:
    assert grave(0.5, 0.5) is Severity.NOTE
    assert grave(0.01, 0.19) is Severity.NOTE, "nearly all of the loss is gone as it is"
    assert grave(0.31, 0.6) is Severity.NOTE, "less than half is not left"


def test_it_is_a_warning_where_clearly_less_is_left_from_the_other_start() -> None:
    severity, said = tried(trained(rescaled=another_start(0.1, 0.6)))
    assert severity is Severity.WARNING
    assert "end at a loss of 0.6, and from weights that were rescaled layer by layer at 0.1." in said
    assert "no harm" not in said


def test_what_another_rule_tells_or_nothing_tried_is_as_grave_as_the_rule_says() -> None:
    assert grave(0.1, 1.9) is None
    assert tried(trained())[0] is None
    assert grave(-1.0, -0.9) is Severity.NOTE
