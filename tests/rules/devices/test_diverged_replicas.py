"""diverged-replicas: told with the parameter, the axes and how much of it differs."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import DivergedReplicas, Severity
from tests.rules.made import chain, found

ONE = DivergedReplicas("layers[0].w", ("data",), 8, 7, 12, 64, 0.25)
NETWORK = chain([1.0] * 2)


def test_it_is_an_error_that_names_the_parameter() -> None:
    (finding,) = found(replace(NETWORK, diverged=(ONE,)), "diverged-replicas")
    assert finding.severity is Severity.ERROR
    assert finding.parameter == "layers[0].w"
    assert 'the same on 8 devices along "data", and 7 of them hold other bits' in finding.message
    assert "12 of 64 elements differ, by up to 0.25 of the largest" in finding.message
    assert "step" not in finding.evidence


def test_in_a_training_the_step_is_told_and_what_is_no_number_is_left_out() -> None:
    late = replace(ONE, axes=(), differing=1, apart=None, step=40)
    (finding,) = found(replace(NETWORK, diverged=(late,)), "diverged-replicas")
    assert "the same on 8 devices, and 1 of them holds other bits" in finding.message
    assert "before step 40" in finding.message
    assert finding.evidence["step"] == 40
    assert "apart" not in finding.evidence


def test_without_any_nothing_is_said() -> None:
    assert found(NETWORK, "diverged-replicas") == []


def test_params_that_a_step_of_the_file_parts_are_told_so() -> None:
    (finding,) = found(
        replace(chain([1.0] * 2), diverged=(replace(ONE, own_step=True),)), "diverged-replicas"
    )
    assert "after one step of `train_step`" in finding.message
    assert "jax.lax.pmean(grads, axis)" in finding.remedy
