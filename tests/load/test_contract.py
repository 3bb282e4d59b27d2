"""What every adapter keeps: the loss, the gradients and the names are those of the framework itself.

A new framework adds a module to `tests/load/models` and a line to `CASES`.
"""

import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest

import gradscope
from gradscope.load.model.frameworks.table import ADAPTERS
from gradscope.load.problem import Problem
from gradscope.trace.leaves import leaves_of
from tests.load.models import equinox, flax_linen, flax_nnx, haiku, keras, train_state
from tests.load.models.case import Case, Made

CASES = [
    *flax_nnx.CASES,
    *equinox.CASES,
    *flax_linen.CASES,
    *haiku.CASES,
    *keras.CASES,
    *train_state.CASES,
]
ONE_OF_EACH = {case.library: case for case in reversed(CASES)}.values()


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, marks=() if case in ONE_OF_EACH else pytest.mark.slow) for case in CASES],
    ids=lambda case: f"{case.library}: {case.name}",
)
def made(request: pytest.FixtureRequest) -> Made:
    case: Case = request.param
    return case.make()


def problem_of(made: Made) -> Problem:
    return Problem(made.loss_fn, made.model, made.batch, given=made.given, optimizer=made.optimizer)


def by_name(problem: Problem, tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves(tree)
    return {leaf.name: leaves[place] for place, leaf in leaves_of(problem.params).items()}


def test_the_parameters_are_those_that_are_trained_under_the_names_the_user_writes(made: Made) -> None:
    problem = problem_of(made)
    weights = by_name(problem, problem.params)
    assert set(weights) == set(made.parameters)
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, made.weight(name), err_msg=name)


def test_loss_and_gradients_are_those_of_the_framework(made: Made) -> None:
    problem = problem_of(made)
    run = jax.value_and_grad(problem.loss, has_aux=True)
    (loss, _), gradients = run(problem.params, made.batch, problem.key())
    assert float(loss) == pytest.approx(made.loss, rel=1e-6)
    for name, gradient in by_name(problem, gradients).items():
        np.testing.assert_allclose(gradient, made.gradient(name), rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_report_has_the_same_loss_gradients_names_and_kinds(made: Made) -> None:
    measured = gradscope.check(problem_of(made)).flow
    assert measured.loss == pytest.approx(made.loss, rel=1e-5)
    assert {layer.name: layer.kind for layer in measured.layers} == dict(made.kinds)
    truths = {
        parameter.name: float(np.linalg.norm(np.asarray(made.gradient(parameter.name), np.float64)))
        for parameter in measured.parameters
    }
    # The exact gradient of a bias before a normalization is 0: what is found is the rounding of the others.
    rounding = 2e-6 * max(truths.values())
    for parameter in measured.parameters:
        truth = truths[parameter.name]
        assert parameter.gradient_norm == pytest.approx(truth, rel=1e-4, abs=rounding), parameter.name


def test_a_second_run_gives_the_same_and_leaves_the_model_as_it_was(made: Made) -> None:
    problem = problem_of(made)
    before = [np.array(made.weight(name)) for name in made.parameters]
    values = [float(problem.loss(problem.params, made.batch, problem.key())[0]) for _ in range(2)]
    traced = jax.jit(problem.loss)(problem.params, made.batch, problem.key())[0]
    assert values[0] == values[1] == pytest.approx(float(traced), rel=1e-5)
    for name, weight in zip(made.parameters, before, strict=True):
        np.testing.assert_array_equal(made.weight(name), weight)
    assert not [leaf for leaf in jax.tree_util.tree_leaves(made.model) if isinstance(leaf, jax.core.Tracer)]


def test_every_adapter_has_a_case() -> None:
    assert {case.library for case in CASES} == set(ADAPTERS)


def test_gradscope_imports_no_framework_by_itself() -> None:
    code = (
        "import sys, gradscope, gradscope.load.problem, gradscope.load.target, gradscope.load.definitions\n"
        "gradscope.check(lambda w: (w**2).sum(), 1.0)\n"
        "print([name for name in ('flax', 'equinox', 'haiku', 'keras', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
