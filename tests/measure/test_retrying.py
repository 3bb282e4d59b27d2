"""Where the blocks of a flow pass fail, it is run once more as one program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from gradscope.blocks import block
from gradscope.blocks.running import Blockwise
from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.measure.flow_programs import InBlocks, Whole
from gradscope.trace.program import Tracer
from tests.trace.oracle import normal

PARAMS = [normal(i, 6, 6, scale=0.5) for i in range(4)]
BATCH = normal(9, 5, 6)


def loss(params: Any, batch: Any) -> Any:
    for w in params:
        batch = jnp.tanh(batch @ w) + jax.nn.sigmoid(batch)
    return jnp.mean(batch**2)


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Tracer:
    monkeypatch.setattr(block, "pays", lambda _: True)
    return Tracer(Problem(loss, PARAMS, BATCH))


def made(tracer: Tracer) -> FlowPass:
    return FlowPass(tracer.trace(BATCH), tracer.inputs(BATCH))


def failing(error: BaseException) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def no_memory() -> Exception:
    return RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte.")


def test_a_block_that_fails_as_it_runs_is_made_up_for(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, flow = tracer.inputs(BATCH), made(tracer)
    expected = flow(inputs)
    assert isinstance(flow.compiled, InBlocks)
    monkeypatch.setattr(Blockwise, "__call__", failing(no_memory()))
    found = flow(inputs)
    assert isinstance(flow.compiled, Whole)
    assert found.loss == expected.loss
    assert [r.norm for r in found.gradients] == pytest.approx([r.norm for r in expected.gradients])


def test_so_is_one_that_fails_in_another_pass(tracer: Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, flow = tracer.inputs(BATCH), made(tracer)
    monkeypatch.setattr(Blockwise, "__call__", failing(no_memory()))
    for ours, truth in zip(flow.gradients(inputs), jax.grad(loss)(PARAMS, BATCH), strict=True):
        np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("error", [no_memory(), JaxRuntimeError("INTERNAL: the compiler failed")])
def test_one_that_fails_to_compile_is_made_up_for(
    error: Exception, tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Blockwise, "__init__", failing(error))
    flow = made(tracer)
    assert isinstance(flow.compiled, Whole)
    assert flow(tracer.inputs(BATCH)).loss == pytest.approx(float(loss(PARAMS, BATCH)))


def test_what_fails_as_one_program_too_is_raised_once(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = made(tracer)
    monkeypatch.setattr(Blockwise, "__call__", failing(no_memory()))
    monkeypatch.setattr(Whole, "__call__", failing(GradscopeError("The loss raised.", why="", fix="")))
    with pytest.raises(GradscopeError, match="The loss raised"):
        flow(tracer.inputs(BATCH))


def test_an_interrupt_ends_the_pass(tracer: Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = made(tracer)
    monkeypatch.setattr(Blockwise, "__call__", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        flow(tracer.inputs(BATCH))
    assert isinstance(flow.compiled, InBlocks)
