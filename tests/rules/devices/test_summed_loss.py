"""summed-loss: told with the axis and the number of devices."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Severity, SummedLoss
from tests.rules.made import chain, found, source

ONE = SummedLoss(source(3), ("data",), 8, 4)
NETWORK = chain([1.0] * 2)


def test_it_is_a_warning_at_the_line_of_the_sum() -> None:
    (finding,) = found(replace(NETWORK, summed_losses=(ONE,)), "summed-loss")
    assert finding.severity is Severity.WARNING
    assert finding.source == source(3)
    assert 'the 4 examples of each device is summed over the 8 devices along "data"' in finding.message
    assert '`jax.lax.pmean(loss, "data")`' in finding.remedy


def test_without_any_nothing_is_said() -> None:
    assert found(NETWORK, "summed-loss") == []
