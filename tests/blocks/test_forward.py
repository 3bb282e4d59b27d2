"""A program that runs forward alone gives the same in blocks and as a whole."""

from __future__ import annotations

from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gradscope.blocks import forward
from gradscope.blocks.block import blocks_of, blocks_where_it_pays
from gradscope.blocks.forward import compile_forward, compile_watched
from gradscope.blocks.repeats import Sizes
from gradscope.load.problem import Problem
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_programs
from gradscope.trace.program import Tracer
from gradscope.trace.sites import Plan
from gradscope.trace.statistics import COUNT
from gradscope.trace.unit_statistics import HIGHEST, LOWEST, SQUARES
from tests.trace.programs import Sample, samples


@pytest.mark.parametrize(("layers", "cut"), [(40, True), (2, False)])
def test_blocks_give_what_the_whole_gives(layers: int, cut: bool) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(8, 8)).astype(np.float32) / 3 for _ in range(layers)]

    def run(x: Any, *weights: Any) -> Any:
        for weight in weights:
            h = x @ weight
            x = jnp.tanh(x + jax.nn.softmax(h) * h - h.mean(-1, keepdims=True))
        return x

    inputs = [rng.normal(size=(3, 8)).astype(np.float32), *weights]
    body = jaxprs.body_of(jax.make_jaxpr(run)(*inputs))
    assert bool(blocks_where_it_pays(body, Plan(), inputs)) is cut
    forward = compile_forward(body, inputs, runs=2)
    (found,) = forward(inputs)
    np.testing.assert_allclose(found, run(*inputs), rtol=1e-5)
    np.testing.assert_array_equal(found, forward(inputs)[0])


TAKEN = (COUNT, HIGHEST, LOWEST, SQUARES)


def watched(sample: Sample, sizes: Sizes | None) -> Any:
    """The statistics at each site: in blocks of these sizes, or as one program."""
    tracer = Tracer(Problem(sample.loss_fn, sample.params, sample.batch))
    program, inputs = tracer.trace(sample.batch), tracer.inputs(sample.batch)
    blocks = [] if sizes is None else blocks_of(program.body, program.plan, sizes, outputs=0)
    values = [*inputs.weights, *inputs.others]
    with mock.patch.object(forward, "blocks_where_it_pays", return_value=blocks):
        return compile_watched(program, values, TAKEN, runs=1)(values)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(samples())
def test_statistics_of_a_random_program_are_those_of_the_whole(sample: Sample) -> None:
    found, whole = watched(sample, Sizes(shortest=3, longest=6, least_saved=2)), watched(sample, None)
    assert found.keys() == whole.keys()
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_statistics_of_many_layers_are_compiled_once_for_equal_ones() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(8, 8)).astype(np.float32) / 3 for _ in range(40)]

    def loss_fn(weights: Any, x: Any) -> Any:
        for weight in weights:
            x = jax.nn.relu(x @ weight) + x
        return (x**2).mean()

    tracer = Tracer(Problem(loss_fn, weights, rng.normal(size=(5, 8)).astype(np.float32)))
    batch = rng.normal(size=(5, 8)).astype(np.float32)
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    compiled = []
    with mock.patch.object(
        forward, "compile_programs", lambda requests: compiled.extend(requests) or compile_programs(requests)
    ):
        found = compile_watched(program, [*inputs.weights, *inputs.others], TAKEN, runs=1)(
            [*inputs.weights, *inputs.others]
        )
    assert len(compiled) <= 5
    x = batch.astype(np.float64)
    for weight, site in zip(weights, program.sites, strict=True):
        out = x @ weight
        np.testing.assert_allclose(found[site.id][HIGHEST.name], out.max(0), rtol=1e-4, atol=1e-4)
        x = np.maximum(out, 0) + x
