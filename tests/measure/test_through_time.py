"""Credit through time against the slow way: a Python loop in which every step has weights of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.credit_pass import CreditPass, Followed
from gradscope.measure.flow import FlowPass
from gradscope.measure.through_time import ThroughTime, through_time
from gradscope.records import TimeCredit
from gradscope.records.progress import silent
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer
from gradscope.trace.time_steps import timelines
from tests.trace import oracle

STEPS, BATCH, UNITS = 12, 3, 4
CELL = {
    "wh": oracle.normal(1, UNITS, UNITS, scale=0.6),
    "wx": oracle.normal(2, UNITS, UNITS),
    "b": jnp.zeros(UNITS),
}
PARAMS = {"cell": CELL, "head": oracle.normal(3, UNITS, 2)}
DATA = oracle.normal(4, STEPS, BATCH, UNITS), oracle.normal(5, BATCH, 2)
START = jnp.zeros((BATCH, UNITS))
LSTM = {"wx": oracle.normal(6, UNITS, 4 * UNITS), "wh": oracle.normal(7, UNITS, 4 * UNITS, scale=0.5)}

Cell = Callable[[Any, Any, Any], Any]
"""The state after a step, from its parameters, the state before it, and its input."""


def plain_cell(p: Any, h: Any, x: Any) -> Any:
    return jnp.tanh(h @ p["wh"] + x @ p["wx"] + p["b"])


def lstm_cell(p: Any, carry: Any, x: Any) -> Any:
    h, c = carry
    i, f, o, g = jnp.split(x @ p["wx"] + h @ p["wh"], 4, axis=-1)
    c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def last(state: Any) -> Any:
    return state[0] if isinstance(state, tuple) else state


def scanned(cell: Cell, start: Any, *, reverse: bool = False) -> Callable[[Any, Any], Any]:
    def loss(p: Any, b: Any) -> Any:
        def step(h: Any, x: Any) -> tuple[Any, None]:
            return cell(p["cell"], h, x), None

        h, _ = lax.scan(step, start, b[0], reverse=reverse)
        return oracle.error(last(h) @ p["head"], b[1])

    return loss


def slowly(
    cells: Sequence[Any],
    cell: Cell,
    start: Any,
    xs: Any,
    *,
    cut: int | None = None,
    head: Any = PARAMS["head"],
) -> Any:
    h = start
    for t, (p, x) in enumerate(zip(cells, xs, strict=True)):
        if cut and t and t % cut == 0:
            h = lax.stop_gradient(h)
        h = cell(p, h, x)
    return oracle.error(last(h) @ head, DATA[1])


def measured(loss: Any, params: Any = PARAMS, data: Any = DATA, truncate: int | None = None) -> ThroughTime:
    tracer = Tracer(Problem(loss, params, data))
    program, inputs = tracer.trace(data), tracer.inputs(data)
    return through_time(
        program, FlowPass(program, inputs), inputs, credit=True, truncate=truncate, progress=silent
    )


def credit(loss: Any, params: Any = PARAMS, data: Any = DATA) -> TimeCredit:
    found = measured(loss, params, data)
    assert found.skipped == ()
    (one,) = found.credit
    return one


def agree(found: TimeCredit, summands: Sequence[Any], root: str = "cell", rtol: float = 1e-4) -> None:
    """`summands` are by step the gradients of that step's own weights."""
    for contribution in found.contributions:
        (name,) = contribution.parameters
        parts = [np.asarray(each[name.removeprefix(f"{root}.")], np.float64) for each in summands]
        total = sum(parts)
        norm = oracle.norm(total)
        np.testing.assert_allclose(contribution.norms, [oracle.norm(each) for each in parts], rtol=rtol)
        np.testing.assert_allclose(
            contribution.shares, [float((each * total).sum()) / norm**2 for each in parts], atol=rtol
        )
        assert contribution.gradient_norm == pytest.approx(norm, rel=rtol)
        assert sum(contribution.shares) == pytest.approx(1, abs=rtol)


@pytest.mark.few(2)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("cell", "p", "start"), [(plain_cell, CELL, START), (lstm_cell, LSTM, (START, START))]
)
def test_contributions_of_the_steps_are_those_of_weights_of_their_own(
    cell: Cell, p: Any, start: Any, reverse: bool
) -> None:
    params = {**PARAMS, "cell": p}
    time = credit(scanned(cell, start, reverse=reverse), params)
    xs = DATA[0][::-1] if reverse else DATA[0]
    summands = jax.grad(lambda cells: slowly(cells, cell, start, xs))([p] * STEPS)
    agree(time, summands)
    assert {c.parameters for c in time.contributions} == {(f"cell.{name}",) for name in p}


def test_delta_of_each_layer_in_the_loop_at_each_step() -> None:
    def network(p: Any, b: Any, bump: Any) -> Any:
        h = START
        for t in range(STEPS):
            z = bump(f"z{t}", h @ p["cell"]["wh"] + b[0][t] @ p["cell"]["wx"] + p["cell"]["b"])
            h = jnp.tanh(z)
        return oracle.error(h @ p["head"], b[1])

    (layer,) = credit(scanned(plain_cell, START)).layers
    slow = oracle.deltas(network, PARAMS, DATA)
    assert layer.layer == "cell"
    expected = [oracle.norm(slow[f"z{t}"]) for t in range(STEPS)]
    np.testing.assert_allclose(layer.delta_norms, expected, rtol=1e-5)


@pytest.mark.few(1)
@pytest.mark.parametrize("steps", [1, 4, 5, STEPS])
def test_what_truncation_loses_is_what_stop_gradient_loses(steps: int) -> None:
    found = measured(scanned(plain_cell, START), truncate=steps).truncation
    assert found is not None

    def gradient(cut: int | None) -> Any:
        return jax.grad(
            lambda p: slowly([p["cell"]] * STEPS, plain_cell, START, DATA[0], cut=cut, head=p["head"])
        )(PARAMS)

    whole, cut = (jax.tree.leaves(gradient(each)) for each in (None, steps))
    for record, a, b in zip(found.parameters, whole, cut, strict=True):
        assert record.lost == pytest.approx(oracle.norm(b - a) / oracle.norm(a), abs=1e-4), record.parameter
        assert record.cosine == pytest.approx(
            float(jnp.sum(a * b)) / (oracle.norm(a) * oracle.norm(b)), abs=1e-4
        )
    lost = np.concatenate([np.ravel(b - a) for a, b in zip(whole, cut, strict=True)])
    assert found.lost == pytest.approx(
        oracle.norm(lost) / oracle.norm(np.concatenate([np.ravel(a) for a in whole])), abs=1e-4
    )
    if steps == STEPS:
        assert found.lost == 0


def test_the_jacobian_of_a_plain_cell_is_the_slope_of_tanh_times_its_weights() -> None:
    (memory,) = credit(scanned(plain_cell, START)).memories
    h = START
    expected = {}
    for t in range(STEPS):
        h = plain_cell(CELL, h, DATA[0][t])
        blocks = [np.diag(1 - np.asarray(row) ** 2) @ np.asarray(CELL["wh"]).T for row in h]
        expected[t] = (
            max(np.abs(np.linalg.eigvals(block)).max() for block in blocks),
            max(np.linalg.norm(block, 2) for block in blocks),
        )
    assert [each.step for each in memory.jacobians] == [0, 5, STEPS - 1]
    for each in memory.jacobians:
        assert each.exact
        assert each.rows == BATCH
        assert each.spectral_radius == pytest.approx(expected[each.step][0], rel=1e-4)
        assert each.largest_singular_value == pytest.approx(expected[each.step][1], rel=1e-4)


def test_the_cell_and_the_output_of_an_lstm_are_one_memory() -> None:
    start = (START, START)
    found = credit(scanned(lstm_cell, start), {**PARAMS, "cell": LSTM})
    (memory,) = found.memories
    assert memory.states == 2
    carry = start
    for t in range(STEPS):
        after = lambda state, x=DATA[0][t]: lstm_cell(LSTM, state, x)  # noqa: E731
        radius = max(
            np.abs(np.linalg.eigvals(_example(jax.jacrev(after)(carry), row))).max() for row in range(BATCH)
        )
        for each in memory.jacobians:
            if each.step == t:
                assert each.spectral_radius == pytest.approx(radius, rel=1e-4)
        carry = after(carry)


def _example(jacobian: Any, row: int) -> Any:
    return np.block([[np.asarray(part)[row, :, row] for part in parts] for parts in jacobian])


def expected_memory(loss_at_last: Callable[[Any], Any]) -> list[float]:
    """Norms at each state of the gradient that arrives at the last one: through the recurrence alone."""
    h, states = START, []
    for t in range(STEPS):
        states.append(h)
        h = plain_cell(CELL, h, DATA[0][t])
    followed = jax.grad(loss_at_last)(states[-1])
    norms = [oracle.norm(followed)]
    for t in reversed(range(STEPS - 1)):
        _, back = jax.vjp(lambda h, x=DATA[0][t]: plain_cell(CELL, h, x), states[t])
        (followed,) = back(followed)
        norms.insert(0, oracle.norm(followed))
    return norms


def at_last(h: Any) -> Any:
    return oracle.error(plain_cell(CELL, h, DATA[0][-1]) @ PARAMS["head"], DATA[1])


def every_step(p: Any, b: Any) -> Any:
    def step(h: Any, x: Any) -> tuple[Any, Any]:
        h = plain_cell(p["cell"], h, x)
        return h, oracle.error(h @ p["head"], b[1])

    return lax.scan(step, START, b[0])[1].sum()


def summed_in_the_loop(p: Any, b: Any) -> Any:
    @jax.jit
    def step(carry: Any, x: Any) -> tuple[Any, None]:
        h, total = carry
        h = plain_cell(p["cell"], h, x)
        return (h, total + oracle.error(h @ p["head"], b[1])), None

    return lax.scan(step, (START, jnp.zeros(())), b[0])[0][1]


def at_the_end(p: Any, b: Any) -> Any:
    return scanned(plain_cell, START)(p, b)


@pytest.mark.parametrize("loss", [at_the_end, every_step, summed_in_the_loop])
def test_what_is_followed_back_is_the_gradient_of_the_last_step_wherever_the_loss_enters(loss: Any) -> None:
    (memory,) = credit(loss).memories
    expected = expected_memory(at_last)
    np.testing.assert_allclose(memory.followed_norms, expected, rtol=1e-4)
    assert memory.start == STEPS - 1
    kept = [t for t, norm in enumerate(expected) if norm >= 0.01 * expected[-1]]
    assert memory.memory == (STEPS - kept[0] if kept[0] else None)


def test_a_loss_that_the_loop_sums_up_is_neither_a_memory_nor_cut() -> None:
    per_step, summed = (measured(loss, truncate=3) for loss in (every_step, summed_in_the_loop))
    assert per_step.truncation is not None
    assert summed.truncation is not None
    assert summed.truncation.lost == pytest.approx(per_step.truncation.lost, rel=1e-4)
    assert 0 < summed.truncation.lost < 1
    (fast,), (slow,) = per_step.credit, summed.credit
    assert len(fast.memories) == len(slow.memories) == 1
    for a, b in zip(fast.contributions, slow.contributions, strict=True):
        np.testing.assert_allclose(a.shares, b.shares, atol=1e-4)


def blocks(p: Any, b: Any) -> Any:
    def step(h: Any, x: Any) -> tuple[Any, None]:
        return plain_cell(p["cell"], h, x), None

    outer = jax.checkpoint(lambda h, block: lax.scan(step, h, block))
    h, _ = lax.scan(outer, START, b[0].reshape(3, 4, BATCH, UNITS))
    return oracle.error(h @ p["head"], b[1])


def one_after_the_other(p: Any, b: Any) -> Any:
    def step(h: Any, x: Any) -> tuple[Any, None]:
        return plain_cell(p["cell"], h, x), None

    h, _ = lax.scan(step, START, b[0][:5])
    h, _ = lax.scan(step, h, b[0][5:])
    return oracle.error(h @ p["head"], b[1])


def called(p: Any, b: Any) -> Any:
    inner = jax.jit(jax.checkpoint(scanned(plain_cell, START)))
    return jax.jit(inner)(p, b)


def mapped(p: Any, b: Any) -> Any:
    def single(x: Any, y: Any) -> Any:
        h, _ = lax.scan(lambda h, x: (plain_cell(p["cell"], h, x), None), jnp.zeros(UNITS), x)
        return oracle.error(h @ p["head"], y)

    return jnp.mean(jax.vmap(single, (1, 0))(*b))


def with_a_counter(p: Any, b: Any) -> Any:
    def step(carry: Any, x: Any) -> tuple[Any, None]:
        number, h, _, key = carry
        key, _ = jax.random.split(key)
        return (number + 1, plain_cell(p["cell"], h, x), x, key), None

    start = (0, START, jnp.zeros((BATCH, UNITS)), jax.random.key(0))
    (_, h, _, _), _ = lax.scan(step, start, b[0])
    return oracle.error(h @ p["head"], b[1])


def unrolled(p: Any, b: Any) -> Any:
    h, _ = lax.scan(lambda h, x: (plain_cell(p["cell"], h, x), None), START, b[0], unroll=5)
    return oracle.error(h @ p["head"], b[1])


@pytest.mark.few(3)
@pytest.mark.parametrize("loss", [blocks, one_after_the_other, called, mapped, with_a_counter, unrolled])
def test_a_loop_in_another_form_is_the_same_loop(loss: Any) -> None:
    plain, found = (measured(each, truncate=5) for each in (at_the_end, loss))
    (expected,), (got,) = plain.credit, found.credit
    assert got.length == STEPS
    agree(got, jax.grad(lambda cells: slowly(cells, plain_cell, START, DATA[0]))([CELL] * STEPS))
    for a, b in zip(expected.layers, got.layers, strict=True):
        np.testing.assert_allclose(a.delta_norms, b.delta_norms, rtol=1e-4)
    (one,), (other,) = expected.memories, got.memories
    np.testing.assert_allclose(one.followed_norms, other.followed_norms, rtol=1e-4)
    assert [j.spectral_radius for j in other.jacobians] == pytest.approx(
        [j.spectral_radius for j in one.jacobians], rel=1e-4
    )
    assert plain.truncation is not None
    assert found.truncation is not None
    assert found.truncation.lost == pytest.approx(plain.truncation.lost, rel=1e-4)


def test_two_layers_in_one_loop_are_two_memories() -> None:
    params = {"first": CELL, "second": {**CELL, "wh": 0.3 * CELL["wh"]}, "head": PARAMS["head"]}

    def loss(p: Any, b: Any) -> Any:
        def step(carry: Any, x: Any) -> tuple[Any, None]:
            one = plain_cell(p["first"], carry[0], x)
            return (one, plain_cell(p["second"], carry[1], one)), None

        (_, h), _ = lax.scan(step, (START, START), b[0])
        return oracle.error(h @ p["head"], b[1])

    found = credit(loss, params)
    assert [memory.states for memory in found.memories] == [1, 1]
    assert [layer.layer for layer in found.layers] == ["first", "second"]
    assert len(found.contributions) == 6
    assert all(sum(each.shares) == pytest.approx(1, abs=1e-4) for each in found.contributions)


def test_a_loop_in_each_layer_of_a_stack_pools_the_layers() -> None:
    params = {"stack": jax.tree.map(lambda leaf: jnp.stack([leaf, 0.7 * leaf]), CELL), "head": PARAMS["head"]}

    def loss(p: Any, b: Any) -> Any:
        def layer(xs: Any, cell: Any) -> tuple[Any, None]:
            def step(h: Any, x: Any) -> tuple[Any, Any]:
                h = plain_cell(cell, h, x)
                return h, h

            return lax.scan(step, START, xs)[1], None

        hs, _ = lax.scan(layer, b[0], p["stack"])
        return oracle.error(hs[-1] @ p["head"], b[1])

    def slow(cells: Any) -> Any:
        xs = list(DATA[0])
        for layer in range(2):
            h = START
            for t in range(STEPS):
                h = plain_cell(jax.tree.map(lambda leaf, layer=layer: leaf[layer], cells[t]), h, xs[t])
                xs[t] = h
        return oracle.error(xs[-1] @ PARAMS["head"], DATA[1])

    agree(credit(loss, params), jax.grad(slow)([params["stack"]] * STEPS), root="stack")


def test_a_weight_that_is_made_outside_of_the_loop_is_named_by_what_it_is_made_of() -> None:
    def loss(p: Any, b: Any) -> Any:
        both = jnp.concatenate([p["cell"]["wx"], p["cell"]["wh"]])
        wide = b[0].astype(jnp.bfloat16)

        def step(h: Any, x: Any) -> tuple[Any, None]:
            return jnp.tanh(jnp.concatenate([x, h], axis=-1) @ both.astype(jnp.bfloat16)), None

        h, _ = lax.scan(step, START.astype(jnp.bfloat16), wide)
        return oracle.error(h.astype(jnp.float32) @ p["head"], b[1])

    found = credit(loss)
    (one,) = found.contributions
    assert one.parameters == ("cell.wh", "cell.wx")
    assert sum(one.shares) == pytest.approx(1, abs=1e-2)
    (memory,) = found.memories
    assert all(jacobian.exact for jacobian in memory.jacobians)


def test_a_model_in_bfloat16_has_the_shares_of_float32_to_its_rounding() -> None:
    def narrow(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)

    plain, found = (
        credit(at_the_end),
        credit(scanned(plain_cell, narrow(START)), narrow(PARAMS), narrow(DATA)),
    )
    assert len(found.contributions) == 3
    for a, b in zip(plain.contributions, found.contributions, strict=True):
        assert a.parameters == b.parameters
        np.testing.assert_allclose(a.shares, b.shares, atol=0.05)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_shares_and_memory_do_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    plain, scaled = credit(at_the_end), credit(lambda p, b: scale * at_the_end(p, b))
    for a, b in zip(plain.contributions, scaled.contributions, strict=True):
        np.testing.assert_allclose(a.shares, b.shares, atol=1e-4)
        np.testing.assert_allclose(np.array(b.norms) / scale, a.norms, rtol=1e-3)
    assert plain.memories[0].memory == scaled.memories[0].memory


def test_a_large_state_has_its_radius_from_a_subspace() -> None:
    units = 160
    params = {
        "cell": {
            "wh": oracle.normal(8, units, units, scale=units**-0.5),
            "wx": oracle.normal(9, UNITS, units),
            "b": jnp.zeros(units),
        },
        "head": oracle.normal(10, units, 2),
    }
    found = credit(scanned(plain_cell, jnp.zeros((BATCH, units))), params)
    (memory,) = found.memories
    h = plain_cell(params["cell"], jnp.zeros((BATCH, units)), DATA[0][0])
    blocks = [np.diag(1 - np.asarray(row) ** 2) @ np.asarray(params["cell"]["wh"]).T for row in h]
    first = memory.jacobians[0]
    assert not first.exact
    assert first.rows is None
    assert first.spectral_radius == pytest.approx(
        max(np.abs(np.linalg.eigvals(block)).max() for block in blocks), rel=0.05
    )
    assert first.largest_singular_value == pytest.approx(
        max(np.linalg.norm(block, 2) for block in blocks), rel=0.01
    )


def test_states_that_read_other_examples_are_not_taken_apart() -> None:
    def coupled(p: Any, h: Any, x: Any) -> Any:
        return jnp.tanh((h - h.mean(0)) @ p["wh"] + x @ p["wx"] + p["b"])

    (memory,) = credit(scanned(coupled, START)).memories
    after = lambda h: coupled(CELL, h, DATA[0][0])  # noqa: E731
    whole = np.asarray(jax.jacrev(after)(START)).reshape(BATCH * UNITS, -1)
    assert memory.jacobians[0].rows is None
    assert memory.jacobians[0].spectral_radius == pytest.approx(
        np.abs(np.linalg.eigvals(whole)).max(), rel=1e-4
    )


def test_padding_that_hands_the_state_on_is_part_of_the_recurrence() -> None:
    def loss(p: Any, b: Any) -> Any:
        def step(h: Any, given: Any) -> tuple[Any, None]:
            x, valid = given
            return jnp.where(valid, plain_cell(p["cell"], h, x), h), None

        h, _ = lax.scan(step, START, (b[0], jnp.arange(STEPS) < 9))
        return oracle.error(h @ p["head"], b[1])

    found = credit(loss)
    (memory,) = found.memories
    assert memory.jacobians[-1].spectral_radius == pytest.approx(1)
    assert all(share == 0 for each in found.contributions for share in each.shares[9:])


def skipped(loss: Any) -> list[str]:
    found = measured(loss, truncate=3)
    assert found.credit == ()
    assert found.truncation is None
    return [entry.reason for entry in found.skipped]


def test_without_a_loop_over_time_it_is_said_that_nothing_was_followed() -> None:
    def python_loop(p: Any, b: Any) -> Any:
        return slowly([p["cell"]] * STEPS, plain_cell, START, b[0], head=p["head"])

    (said,) = skipped(python_loop)
    assert "no loop over time" in said
    assert "written out in Python" in said


def test_a_loop_in_a_branch_is_said_to_be_left_out() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = lax.cond(
            b[1].sum() > 1e9,
            lambda xs: START,
            lambda xs: lax.scan(lambda h, x: (plain_cell(p["cell"], h, x), None), START, xs)[0],
            b[0],
        )
        return oracle.error(h @ p["head"], b[1])

    (said,) = skipped(loss)
    assert "branch" in said


def test_a_check_follows_nothing_unless_it_is_asked_to() -> None:
    found = check_loss(at_the_end, PARAMS, DATA, steps=0).flow
    assert found is not None
    assert found.time_credit == ()
    assert found.truncation is None
    cut = check_loss(at_the_end, PARAMS, DATA, steps=0, truncate=3).flow
    assert cut is not None
    assert cut.time_credit == ()
    assert cut.truncation is not None
    assert cut.truncation.steps == 3


def test_the_summands_of_a_check_add_up_to_the_gradient_that_it_tells() -> None:
    report = check_loss(at_the_end, PARAMS, DATA, steps=0, through_time=True)
    assert report.flow is not None
    by_name = {each.name: each.gradient_norm for each in report.flow.parameters}
    (found,) = report.flow.time_credit
    assert found.name == report.flow.recurrences[0].name
    for each in found.contributions:
        assert by_name[each.parameters[0]] == pytest.approx(each.gradient_norm, rel=1e-4)


def test_a_memory_that_no_gradient_leaves_reaches_to_the_first_step() -> None:
    def kept(p: Any, h: Any, x: Any) -> Any:
        return h + jnp.tanh(h @ (0.01 * p["wh"]) + x @ p["wx"])

    (memory,) = credit(scanned(kept, START)).memories
    assert memory.memory is None


def test_weights_are_not_held_once_for_each_step() -> None:
    steps, units = 200, 64
    cell = {"wh": oracle.normal(1, units, units, scale=0.1), "wx": oracle.normal(2, UNITS, units)}
    data = oracle.normal(3, steps, BATCH, UNITS), DATA[1]

    def loss(p: Any, b: Any) -> Any:
        h, _ = lax.scan(
            lambda h, x: (jnp.tanh(h @ p["wh"] + x @ p["wx"]), None), jnp.zeros((BATCH, units)), b[0]
        )
        return oracle.error(h[:, :2], b[1])

    tracer = Tracer(Problem(loss, cell, data))
    program, inputs = tracer.trace(data), tracer.inputs(data)
    found, _ = timelines(program.body, program.plan, program.loops)
    run = CreditPass(program, inputs, [Followed(each, "", (steps - 1,)) for each in found])
    used = run.compiled.executable.memory_analysis()
    if used is None:
        pytest.skip("this backend does not say how much memory a program takes")
    assert used.temp_size_in_bytes < steps * cell["wh"].nbytes / 4


def linen() -> tuple[Any, Any]:
    nn = pytest.importorskip("flax.linen")
    model = nn.Sequential([nn.RNN(nn.LSTMCell(UNITS)), lambda h: h[:, -1], nn.Dense(2)])
    params = model.init(jax.random.key(0), DATA[0].swapaxes(0, 1))
    return (lambda p, b: oracle.error(model.apply(p, b[0].swapaxes(0, 1)), b[1])), params


def haiku() -> tuple[Any, Any]:
    hk = pytest.importorskip("haiku")

    def forward(xs: Any) -> Any:
        core = hk.LSTM(UNITS)
        hs, _ = hk.dynamic_unroll(core, xs, core.initial_state(BATCH))
        return hk.Linear(2)(hs[-1])

    model = hk.without_apply_rng(hk.transform(forward))
    return (lambda p, b: oracle.error(model.apply(p, b[0]), b[1])), model.init(jax.random.key(0), DATA[0])


def equinox() -> tuple[Any, Any]:
    eqx = pytest.importorskip("equinox")
    cell = eqx.nn.LSTMCell(UNITS, UNITS, key=jax.random.key(0))

    def loss(cell: Any, b: Any) -> Any:
        def single(xs: Any) -> Any:
            state = jnp.zeros(UNITS), jnp.zeros(UNITS)
            return lax.scan(lambda s, x: (cell(x, s), None), state, xs)[0][0]

        return oracle.error(jax.vmap(single, 1)(b[0])[:, :2], b[1])

    return loss, cell


@pytest.mark.few(1)
@pytest.mark.parametrize("library", [linen, haiku, equinox])
def test_the_lstm_of_a_library_is_followed(library: Callable[[], tuple[Any, Any]]) -> None:
    loss, params = library()
    report = check_loss(loss, params, DATA, steps=0, through_time=True, truncate=4)
    assert report.flow is not None
    (found,) = report.flow.time_credit
    by_name = {each.name: each.gradient_norm for each in report.flow.parameters}
    assert len(found.contributions) >= 2
    for each in found.contributions:
        assert by_name[each.parameters[0]] == pytest.approx(each.gradient_norm, rel=1e-3)
        assert sum(each.shares) == pytest.approx(1, abs=1e-3)
    (memory,) = found.memories
    assert memory.states == 2
    assert [each.rows for each in memory.jacobians] == [BATCH] * 3
    assert report.flow.truncation is not None
    assert 0 < report.flow.truncation.lost < 1
