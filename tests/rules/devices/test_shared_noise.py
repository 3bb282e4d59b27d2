"""shared-noise: told with the axes and a key for each device."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Severity, SharedNoise
from tests.rules.made import chain, found, source

ONE = SharedNoise(source(3), ("data",), 8, (16, 32))
NETWORK = chain([1.0] * 2)


def test_it_is_a_warning_at_the_line_of_the_draw() -> None:
    (finding,) = found(replace(NETWORK, shared_noise=(ONE,)), "shared-noise")
    assert finding.severity is Severity.WARNING
    assert finding.source == source(3)
    assert '(16, 32) that are drawn here are the same on all 8 devices along "data"' in finding.message
    assert finding.remedy.endswith('`key = jax.random.fold_in(key, jax.lax.axis_index("data"))`.')


def test_several_axes_are_one_place() -> None:
    both = replace(ONE, axes=("data", "fsdp"))
    (finding,) = found(replace(NETWORK, shared_noise=(both,)), "shared-noise")
    assert 'axis_index(("data", "fsdp"))' in finding.remedy


def test_without_any_nothing_is_said() -> None:
    assert found(NETWORK, "shared-noise") == []
