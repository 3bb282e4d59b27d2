"""local-norm: an error where it is the norm of a part, a warning where it is that of some examples."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import LocalNorm, Severity
from tests.rules.made import chain, found, source

ONE = LocalNorm(source(3), ("model",), 4, True, lowest=2.0, highest=4.0, together=6.0, changed=0.7)
NETWORK = chain([1.0] * 2)


def test_a_norm_of_a_part_is_an_error_with_the_norms() -> None:
    (finding,) = found(replace(NETWORK, local_norms=(ONE,)), "local-norm")
    assert finding.severity is Severity.ERROR
    assert finding.source == source(3)
    assert "2 to 4, and 6 of all parts together" in finding.message
    assert 'jax.lax.psum(squares, "model")' in finding.remedy


def test_a_norm_of_some_examples_is_a_warning() -> None:
    (finding,) = found(replace(NETWORK, local_norms=(replace(ONE, parts=False),)), "local-norm")
    assert finding.severity is Severity.WARNING
    assert "of the gradient of its own examples: 2 to 4" in finding.message
    assert 'pmean(grads, "model")' in finding.remedy
