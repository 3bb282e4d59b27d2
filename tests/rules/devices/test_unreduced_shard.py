"""unreduced-shard: told with the axis, the line and what the devices have."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Severity, UnreducedShard
from tests.rules.made import chain, found, source

ONE = UnreducedShard(source(3), ("data",), 8, 7, 0.4, 2.0, 1.5, 2.9)


def test_it_is_an_error_with_the_losses_of_all() -> None:
    (finding,) = found(replace(chain([1.0] * 2), unreduced=(ONE,)), "unreduced-shard")
    assert finding.severity is Severity.ERROR
    assert finding.source == source(3)
    assert 'all 8 devices along "data"' in finding.message
    assert "the loss is 2, and 1.5 to 2.9 with the values of the others" in finding.message
    assert 'jax.lax.pmean(x, "data")' in finding.remedy


def test_several_axes_are_one_tuple() -> None:
    both = replace(ONE, axes=("data", "model"))
    (finding,) = found(replace(chain([1.0] * 2), unreduced=(both,)), "unreduced-shard")
    assert 'pmean(x, ("data", "model"))' in finding.remedy


def test_rounding_is_none() -> None:
    near = replace(ONE, apart=5e-4)
    assert found(replace(chain([1.0] * 2), unreduced=(near,)), "unreduced-shard") == []
