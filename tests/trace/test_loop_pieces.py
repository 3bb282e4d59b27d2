"""A loop over time written in pieces is the one loop, and a loop in a loop with a state of its own is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Measurement
from tests.trace import oracle

STEPS = 12
PARAMS = {
    "cell": {"wh": oracle.normal(2, 4, 4, scale=0.5), "wx": oracle.normal(1, 4, 4)},
    "head": {"w": oracle.normal(3, 4, 2)},
}
BATCH = oracle.normal(4, STEPS, 3, 4), oracle.normal(5, 3, 2)
START = jnp.zeros((3, 4))
Run = Callable[[Any, Any], Any]
"""The last state, given a step and the inputs of all steps."""


def loss_of(run: Run) -> Any:
    def loss(p: Any, b: Any) -> Any:
        def step(h: Any, x: Any) -> tuple[Any, None]:
            return jnp.tanh(x @ p["cell"]["wx"] + h @ p["cell"]["wh"]), None

        return oracle.error(run(step, b[0]) @ p["head"]["w"], b[1])

    return loss


def flat(step: Any, xs: Any) -> Any:
    return lax.scan(step, START, xs)[0]


def blocks(step: Any, xs: Any, wrap: Any = lambda f: f) -> Any:
    outer = wrap(lambda h, block: lax.scan(step, h, block))
    return lax.scan(outer, START, xs.reshape(3, 4, 3, 4))[0]


def backward_in_time(step: Any, xs: Any) -> Any:
    def outer(h: Any, block: Any) -> Any:
        return lax.scan(step, h, block, reverse=True)

    return lax.scan(outer, START, xs[::-1].reshape(3, 4, 3, 4), reverse=True)[0]


def three_levels(step: Any, xs: Any) -> Any:
    def middle(h: Any, part: Any) -> Any:
        return lax.scan(step, h, part)

    def outer(h: Any, block: Any) -> Any:
        return lax.scan(jax.checkpoint(middle), h, block)

    return lax.scan(jax.checkpoint(outer), START, xs.reshape(3, 2, 2, 3, 4))[0]


def counted(step: Any, xs: Any) -> Any:
    def block(i: Any, state: Any) -> Any:
        seen, h = state
        rows = lax.dynamic_slice_in_dim(xs, 4 * i, 4)
        (h, here), _ = lax.scan(lambda s, x: ((step(s[0], x)[0], s[1] + 1), None), (h, 0), rows)
        return seen + here, h

    return lax.fori_loop(0, 3, block, (0, START))[1]


def unrolled(step: Any, xs: Any) -> Any:
    h = START
    for i in range(3):
        h, _ = jax.checkpoint(lambda h, rows: lax.scan(step, h, rows))(h, xs[4 * i : 4 * i + 4])
    return h


def with_a_rest(step: Any, xs: Any) -> Any:
    h, _ = lax.scan(lambda h, block: lax.scan(step, h, block), START, xs[:10].reshape(2, 5, 3, 4))
    return lax.scan(step, h, xs[10:])[0]


def two_in_each(step: Any, xs: Any) -> Any:
    def outer(h: Any, block: Any) -> Any:
        h, _ = lax.scan(step, h, block[:2])
        return lax.scan(step, h, block[2:])

    return lax.scan(outer, START, xs.reshape(2, 6, 3, 4))[0]


def in_another_shape(step: Any, xs: Any) -> Any:
    def outer(h: Any, block: Any) -> Any:
        h, _ = lax.scan(step, h.reshape(3, 4), block)
        return h.reshape(12), None

    return lax.scan(outer, START.reshape(12), xs.reshape(3, 4, 3, 4))[0].reshape(3, 4)


PIECES: dict[str, Run] = {
    "blocks": blocks,
    "rematerialized blocks": lambda step, xs: blocks(step, xs, jax.checkpoint),
    "compiled blocks": lambda step, xs: blocks(step, xs, jax.jit),
    "three levels": three_levels,
    "beside a counter": counted,
    "one after the other": unrolled,
    "a shorter one at the end": with_a_rest,
    "two in each": two_in_each,
    "in another shape between": in_another_shape,
    "backward in time": backward_in_time,
}


def measured(run: Run) -> Measurement:
    return oracle.measured(loss_of(run), PARAMS, BATCH)


@pytest.fixture(scope="module")
def whole() -> Measurement:
    return measured(flat)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", PIECES)
def test_pieces_of_a_loop_are_one_loop_of_all_steps(name: str, whole: Measurement) -> None:
    expected, found = oracle.recurrence(whole), oracle.recurrence(measured(PIECES[name]))
    assert found.length == STEPS
    np.testing.assert_allclose(found.delta_norms, expected.delta_norms, rtol=1e-5)
    np.testing.assert_allclose(found.state_rms, expected.state_rms, rtol=1e-5)
    assert (found.layers, found.function, found.gated) == (("cell",), "tanh", False)


def test_the_loop_stands_where_its_outermost_piece_does() -> None:
    source = oracle.recurrence(measured(PIECES["rematerialized blocks"])).source
    assert source is not None
    assert "lax.scan(outer" in source.text


def test_a_gate_inside_the_pieces_is_seen() -> None:
    def run(step: Any, xs: Any) -> Any:
        def gated(h: Any, x: Any) -> Any:
            z = jax.nn.sigmoid(x)
            return (1 - z) * h + z * step(h, x)[0], None

        return blocks(gated, xs)

    assert oracle.recurrence(measured(run)).gated


def test_a_slow_state_beside_the_pieces_has_its_own_steps() -> None:
    def run(step: Any, xs: Any) -> Any:
        def outer(state: Any, block: Any) -> Any:
            h, slow = state
            h, _ = lax.scan(step, h, block)
            return (h, jnp.tanh(slow + h)), None

        h, slow = lax.scan(outer, (START, START), xs.reshape(3, 4, 3, 4))[0]
        return h + slow

    assert [r.length for r in measured(run).recurrences] == [12, 3]


def anew(step: Any, xs: Any) -> Any:
    def outer(h: Any, block: Any) -> Any:
        return jnp.tanh(h + lax.scan(step, START, block)[0]), None

    return lax.scan(outer, START, xs.reshape(3, 4, 3, 4))[0]


def changed_between(step: Any, xs: Any) -> Any:
    def outer(h: Any, block: Any) -> Any:
        return lax.scan(step, 0.5 * h, block)

    return lax.scan(outer, START, xs.reshape(3, 4, 3, 4))[0]


@pytest.mark.parametrize("run", [anew, changed_between])
def test_a_state_that_does_not_pass_through_leaves_two_loops(run: Run) -> None:
    assert sorted(r.length for r in measured(run).recurrences) == [3, 4]


def test_blocks_that_are_mapped_are_no_steps() -> None:
    def run(step: Any, xs: Any) -> Any:
        return lax.map(lambda block: lax.scan(step, START, block)[0], xs.reshape(3, 4, 3, 4)).sum(0)

    assert oracle.recurrence(measured(run)).length == 4


def test_a_loop_over_layers_is_no_part_of_the_loop_over_time_inside() -> None:
    def loss(p: Any, b: Any) -> Any:
        def layer(rows: Any, w: Any) -> Any:
            return lax.scan(lambda h, x: (jnp.tanh(x + h @ w),) * 2, START, rows)[1], None

        return oracle.error(lax.scan(layer, b[0], p["w"])[0][-1] @ p["head"], b[1])

    found = oracle.measured(loss, {"w": oracle.normal(6, 3, 4, 4), "head": oracle.normal(7, 4, 2)}, BATCH)
    assert oracle.recurrence(found).length == STEPS
    assert oracle.names(found) == ["w[0]", "w[1]", "w[2]", "head"]


def test_loops_with_layers_of_their_own_stay_apart_though_the_state_goes_on() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = START
        for name in ("encoder", "decoder"):
            h, _ = lax.scan(lambda h, x, w=p[name]: (jnp.tanh(x + h @ w), None), h, b[0])
        return oracle.error(h @ p["head"], b[1])

    params = {name: oracle.normal(8, 4, 4) for name in ("encoder", "decoder")}
    found = oracle.measured(loss, params | {"head": oracle.normal(7, 4, 2)}, BATCH)
    assert [(r.layers, r.length) for r in found.recurrences] == [(("encoder",), 12), (("decoder",), 12)]


def test_a_value_that_overflows_in_a_block_is_named_by_its_step_of_all() -> None:
    def run(step: Any, xs: Any) -> Any:
        return blocks(lambda h, x: (step(h, x)[0] + jnp.where(x[0, 0] > 90, jnp.inf, 0.0) * h, None), xs)

    inputs = np.array(BATCH[0])
    inputs[6, 0, 0] = 100.0
    found = oracle.measured(loss_of(run), PARAMS, (inputs, BATCH[1]))
    assert found.nonfinite_values[0].layer == "cell"
    assert found.nonfinite_values[0].step == 7
