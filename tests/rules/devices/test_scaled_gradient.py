"""scaled-gradient: told with the factor, and as a warning where the params are the same."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import ScaledGradient, Severity
from tests.rules.made import chain, found, source

ONE = ScaledGradient(source(3), ("data",), 8, 8.0, apart=1e-7, apart_from_plain=7.0, params_apart=7.0)
NETWORK = chain([1.0] * 2)


def test_it_is_an_error_at_the_line_of_the_sum() -> None:
    (finding,) = found(replace(NETWORK, scaled_gradient=ONE), "scaled-gradient")
    assert finding.severity is Severity.ERROR
    assert finding.source == source(3)
    assert "the step of 8 times the gradient" in finding.message
    assert 'jax.lax.pmean(grads, "data")' in finding.remedy


def test_where_the_params_are_the_same_it_is_a_warning() -> None:
    (finding,) = found(replace(NETWORK, scaled_gradient=replace(ONE, params_apart=0.0)), "scaled-gradient")
    assert finding.severity is Severity.WARNING
    assert "The params after this step are the same" in finding.message


def test_a_gradient_that_is_divided_twice_has_another_remedy() -> None:
    (finding,) = found(replace(NETWORK, scaled_gradient=replace(ONE, factor=0.125)), "scaled-gradient")
    assert 'divides by the number of devices along "data" twice' in finding.remedy


def test_a_step_that_no_multiple_explains_is_quiet() -> None:
    assert found(replace(NETWORK, scaled_gradient=replace(ONE, apart=0.02)), "scaled-gradient") == []
