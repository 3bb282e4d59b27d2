"""The gradients that other passes ask of a flow pass, in blocks and whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.blocks import block
from gradscope.blocks.running import Blockwise
from gradscope.load.problem import Problem
from gradscope.measure import flow_programs, leaf_statistics
from gradscope.measure.flow import FlowPass
from gradscope.measure.leaf_statistics import LeafStatistics
from gradscope.measure.nonfinite_counts import in_gradients
from gradscope.report.shared.wording import durations
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer
from tests.trace.oracle import normal

PARAMS = {
    "stack": [normal(i, 6, 6, scale=0.5) for i in range(4)],
    "bias": np.ones(6, np.float32),
    "idle": np.ones(2, np.float32),
}
BATCH = normal(9, 5, 6)


def loss(params, batch):
    h = batch
    for w in params["stack"]:
        h = jnp.tanh(h @ w) + jax.nn.sigmoid(h)
    return jnp.mean(jnp.square(h + jax.lax.stop_gradient(params["bias"]))) + 0 * params["idle"].sum()


@pytest.fixture(params=[True, False], ids=["blocks", "whole"])
def flow(request, monkeypatch):
    monkeypatch.setattr(block, "pays", lambda _: request.param)
    tracer = Tracer(Problem(loss, PARAMS, BATCH))
    program = tracer.trace(BATCH)
    made = FlowPass(program, tracer.inputs(BATCH))
    assert isinstance(made.compiled, flow_programs.InBlocks if request.param else flow_programs.Whole)
    return program, made, tracer


def test_they_are_those_of_jax(flow):
    _, made, tracer = flow
    for batch in (BATCH, 2 * BATCH):
        found = made.gradients(tracer.inputs(batch))
        for ours, truth in zip(found, jax.tree.leaves(jax.grad(loss)(PARAMS, batch)), strict=True):
            np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=3e-7)


def test_the_loss_alone_is_the_same_and_nothing_runs_backward(flow, monkeypatch):
    _, made, tracer = flow
    inputs = tracer.inputs(BATCH)
    expected = made.loss_and_gradients(inputs)[0]
    monkeypatch.setattr(Blockwise, "_backward", None)
    assert float(made.loss(inputs)) == float(expected)
    assert not isinstance(made.compiled, flow_programs.InBlocks) or made.compiled.blocks[0]


@pytest.mark.parametrize("small", [0, 2**16])
@pytest.mark.parametrize("in_blocks", [True, False])
def test_one_program_measures_and_hands_the_gradients_out(monkeypatch, small, in_blocks):
    monkeypatch.setattr(leaf_statistics, "SMALL", small)
    monkeypatch.setattr(LeafStatistics.__init__, "__defaults__", (small,))
    monkeypatch.setattr(block, "pays", lambda _: in_blocks)
    tracer = Tracer(Problem(loss, PARAMS, BATCH))
    inputs = tracer.inputs(BATCH)
    made = FlowPass(tracer.trace(BATCH), inputs, gradients=True)
    sample, begun = made.with_gradients(inputs)
    assert begun is not None
    assert float(begun[0]) == sample.loss
    truth = jax.tree.leaves(jax.grad(loss)(PARAMS, BATCH))
    monkeypatch.setattr(flow_programs, "compile_program", None)
    for found in (begun[1], made.gradients(inputs)):
        for ours, theirs in zip(found, truth, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=3e-7)


def test_only_what_is_kept_comes_back(flow):
    _, made, tracer = flow
    found = made.gradients(tracer.inputs(BATCH), lambda leaf, gradient: (leaf, gradient.shape))
    assert found == [(leaf, np.shape(weight)) for leaf, weight in enumerate(jax.tree.leaves(PARAMS))]


def test_what_is_not_finite_is_counted_by_leaf(flow):
    program, made, tracer = flow
    broken = BATCH.copy()
    broken[2, 3] = np.nan
    found = in_gradients(program, made, tracer.inputs(broken))
    truth = jax.tree.leaves(jax.grad(loss)(PARAMS, broken))
    assert [int(each) for each in found] == [int(np.sum(~np.isfinite(each))) for each in truth]


def test_the_report_says_how_many_blocks_were_compiled():
    def deep(params, batch):
        h = batch
        for _ in range(12):
            for w in params["stack"]:
                h = jnp.tanh(h @ w) + jax.nn.sigmoid(h)
        return jnp.mean(jnp.square(h))

    params = {"stack": PARAMS["stack"]}
    timing = check_loss(deep, params, BATCH).timing
    assert 0 < timing.distinct_blocks < timing.blocks
    (compiled,) = [
        name for name, _ in durations(check_loss(deep, params, BATCH)) if name.startswith("compile")
    ]
    assert compiled == f"compile {timing.distinct_blocks} of {timing.blocks} blocks"
    assert check_loss(lambda params: jnp.sum(params["w"] ** 2), {"w": BATCH}).timing.blocks == 0
