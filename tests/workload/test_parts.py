"""The loss cut by layers: every layer has its part, and equal ones are compiled once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.trace import jaxprs
from gradscope.trace.nested.registry import inside
from gradscope.workload.account import Account
from gradscope.workload.parts import LayerParts
from tests.workload.programs import ones, traced

WIDTH, DEPTH = 4, 3
PARAMS = {"layers": [{"w": ones(WIDTH, WIDTH)} for _ in range(DEPTH)], "head": {"w": ones(WIDTH, 2)}}
X = ones(5, WIDTH)


def network(params: Any, x: Any) -> Any:
    for layer in params["layers"]:
        x = jnp.tanh(x @ layer["w"])
    return jnp.mean((x @ params["head"]["w"]) ** 2)


def parts_of(loss: Any, params: Any = PARAMS, batch: Any = X) -> LayerParts:
    program, inputs = traced(loss, params, batch)
    return LayerParts(program, Account(program, inputs.weights, inputs.others), inputs)


@pytest.fixture(scope="module")
def parts() -> LayerParts:
    return parts_of(network)


def test_each_layer_is_a_part_and_equal_ones_are_compiled_once(parts: LayerParts) -> None:
    assert parts.count == DEPTH + 1
    # The first takes no gradient to its input.
    assert parts.programs == 3


def test_seconds_are_those_of_the_parts(parts: LayerParts) -> None:
    forward, backward = [1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]
    found = parts.seconds([(forward, backward)] * 3)
    assert found["layers[1]"].forward == 2.0
    assert found["head"].backward == 40.0
    assert not any(row.estimated for row in found.values())
    assert sum(row.forward + row.backward for row in found.values()) == pytest.approx(110.0)


def test_each_is_run_forward_and_backward(parts: LayerParts) -> None:
    forward, backward = parts.run()
    assert all(second > 0 for second in (*forward, *backward))


@pytest.mark.parametrize("wrap", [jax.jit, lambda f: jax.jit(lambda p, x: jax.jit(f)(p, x))])
def test_a_loss_in_jit_has_the_same_parts(wrap: Any) -> None:
    assert parts_of(wrap(network)).count == DEPTH + 1


def test_what_a_loss_closes_over_is_given_to_the_parts() -> None:
    table = jnp.asarray(ones(WIDTH, WIDTH) * 3)

    def loss(params: Any, x: Any) -> Any:
        return network(params, jnp.tanh(x @ table) @ table)

    forward, _ = parts_of(loss).run()
    assert len(forward) == DEPTH + 1


def recurrent(params: Any, x: Any) -> Any:
    def step(h: Any, _: Any) -> Any:
        return jnp.tanh(jnp.tanh(h @ params["first"]["w"]) @ params["second"]["w"]), None

    return jnp.mean((lax.scan(step, x, None, length=6)[0] @ params["head"]["w"]) ** 2)


def test_layers_in_one_loop_share_its_seconds_by_operations() -> None:
    params = {"first": {"w": ones(4, 12)}, "second": {"w": ones(12, 4)}, "head": {"w": ones(4, 2)}}
    parts = parts_of(recurrent, params)
    assert parts.count == 2
    found = parts.seconds([([6.0, 1.0], [8.0, 1.0])])
    assert found["first"].estimated
    assert found["second"].estimated
    assert not found["head"].estimated
    assert found["first"].forward + found["second"].forward == pytest.approx(6.0)
    assert found["first"].backward + found["second"].backward == pytest.approx(8.0)
    # The products are equal, and of tanh the first has three times as many elements.
    assert found["first"].forward > found["second"].forward > 2.0


def test_a_function_that_is_called_twice_is_written_out_twice() -> None:
    @jax.jit
    def layer(w: Any, x: Any) -> Any:
        return jnp.tanh(x @ w), x

    def loss(params: Any, x: Any) -> Any:
        h, _ = layer(params["a"], x)
        h, before = layer(params["b"], h)
        return jnp.mean(h * before)

    program, inputs = traced(loss, {"a": ones(4, 4), "b": ones(4, 4) * 2}, X)

    def called(eqn: Any) -> Any:
        carried = inside(eqn)
        return carried.entries[0].body if carried is not None and carried.inlined else None

    written = jaxprs.written_out(program.body, called)
    assert not any(eqn.primitive.name in ("jit", "pjit") for eqn in written.body.eqns)
    assert len({id(var) for eqn in written.body.eqns for var in eqn.outvars}) == sum(
        len(eqn.outvars) for eqn in written.body.eqns
    )
    values = [*inputs.weights, *inputs.others]
    ours, theirs = (jaxprs.as_program(each)(*values)[0] for each in (written.body, program.body))
    np.testing.assert_array_equal(ours, theirs)
