"""Random nested programs: instrumenting changes nothing, and every number equals the slow way's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.runs.check import check_loss
from gradscope.trace.optimization import options
from gradscope.trace.program import Tracer
from tests.trace.equations import same_equations
from tests.trace.oracle import LAST_BITS
from tests.trace.programs import Sample, samples

EXAMPLES = settings(
    max_examples=settings.default.max_examples // 20,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


def rms(parts) -> float:
    flat = np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])
    return float(np.sqrt(np.mean(flat**2)))


def close(measured: float, expected: float, scale: float) -> None:
    np.testing.assert_allclose(measured, expected, rtol=2e-3, atol=1e-6 * scale + 1e-12)


@settings(EXAMPLES, max_examples=settings.default.max_examples // 4)
@given(samples())
def test_the_tapped_program_has_the_equations_of_the_loss(sample: Sample) -> None:
    same_equations(sample.loss_fn, sample.params, sample.batch)


@EXAMPLES
@given(samples())
def test_instrumenting_leaves_the_loss_and_the_gradient_alone(sample: Sample) -> None:
    program = Tracer(problem := Problem(sample.loss_fn, sample.params, sample.batch)).trace(sample.batch)
    inputs = Tracer(problem).inputs(sample.batch)
    found = FlowPass(program, inputs)(inputs)
    plain = jax.jit(jax.value_and_grad(sample.loss_fn)).lower(sample.params, sample.batch)
    loss, gradients = plain.compile(compiler_options=options(1))(sample.params, sample.batch)
    np.testing.assert_allclose(found.loss, float(loss), rtol=LAST_BITS * np.finfo(np.float32).eps)
    for moments, gradient in zip(found.gradients, jax.tree.leaves(gradients), strict=True):
        expected = float(jnp.linalg.norm(gradient))
        np.testing.assert_allclose(moments.norm, expected, rtol=1e-5, atol=1e-9)


@EXAMPLES
@given(samples())
def test_activations_and_deltas_equal_those_of_explicit_zero_perturbations(sample: Sample) -> None:
    measured = check_loss(sample.loss_fn, sample.params, sample.batch).flow
    values, deltas = sample.deltas()
    layers = {layer.name: layer for layer in measured.layers}
    top = max(rms(parts) for parts in deltas.values())
    for name in values:
        if name.startswith("dense"):
            assert name in layers, f"{name} is no layer of {sorted(layers)}"
            close(layers[name].activation_rms, rms(values[name]), rms(values[name]))
            close(layers[name].delta_rms, rms(deltas[name]), top)
    assert [name for name in layers if name in values] == [name for name in values if name in layers]


@EXAMPLES
@given(samples())
def test_delta_of_the_state_at_each_step_equals_a_python_loop_over_time(sample: Sample) -> None:
    measured = check_loss(sample.loss_fn, sample.params, sample.batch).flow
    _, deltas = sample.deltas()
    found = {tuple(np.round(r.delta_norms, 7)) for r in measured.recurrences}
    for loop in sample.loops:
        expected = deltas.get(loop.name)
        if expected is None or len(expected) != loop.length:
            continue
        norms = [float(jnp.linalg.norm(delta)) for delta in expected]
        if max(norms) > 0:
            near = [r for r in measured.recurrences if len(r.delta_norms) == loop.length]
            assert any(np.allclose(r.delta_norms, norms, rtol=2e-3, atol=1e-8) for r in near), (found, norms)
