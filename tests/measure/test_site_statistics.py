"""A statistic of a pass of its own: in every nesting it equals what plain JAX computes of the same values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax
from jax.sharding import Mesh, PartitionSpec as P

from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass, Sample
from gradscope.measure.readings import Reading, pooled
from gradscope.records import Layer
from gradscope.trace.program import Tracer
from gradscope.trace.statistics import (
    COUNT,
    FLOW,
    SPREAD,
    Axes,
    Floats,
    Nonzero,
    Operand,
    Selection,
    Statistic,
    reduced,
)
from tests.trace.oracle import normal

WIDTH, ROWS, LAYERS = 5, 6, 3


class Least(Statistic):
    """Smallest absolute value of each unit."""

    name = "least"
    zero = np.inf

    def own_axes(self, rank: int, units: Axes) -> Axes:
        return (rank - 1,)

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.reduce_min(x.size, over)

    def combine(self, entries: Floats, axes: Axes) -> Floats:
        return np.asarray(entries.min(axes, initial=self.zero))

    def read(self, total: Floats, count: float) -> list[float]:
        return total.tolist()


class Alive(Nonzero):
    """Share of the elements of each unit that are not zero."""

    name = "alive"

    def own_axes(self, rank: int, units: Axes) -> Axes:
        return (rank - 1,)

    def read(self, total: Floats, count: float) -> list[float]:
        return (total / count).tolist()


LEAST, ALIVE = Least(), Alive()
CHOSEN = Selection((*FLOW.value, LEAST, ALIVE), (*FLOW.delta, LEAST, ALIVE))
X = normal(0, ROWS, WIDTH)
W = normal(1, LAYERS, WIDTH, WIDTH)


def layer(x: Any, w: Any) -> Any:
    return jax.nn.relu(x @ w)


def loop(w: Any, x: Any) -> Any:
    return lax.scan(lambda x, w: (layer(x, w), None), x, w)[0]


def written_out(w: Any, x: Any) -> Any:
    for each in w:
        x = layer(x, each)
    return x


def branches(w: Any, x: Any) -> Any:
    """The second layer is in a branch that is not taken."""
    x = layer(x, w[0])
    x = lax.cond(x.sum() < 0, lambda x: layer(x, w[1]), lambda x: x, x)
    return layer(x, w[2])


def on_devices(w: Any, x: Any) -> Any:
    mesh = Mesh(np.array(jax.devices()[:2]), ("rows",))
    return jax.shard_map(written_out, mesh=mesh, in_specs=(P(), P("rows")), out_specs=P("rows"))(w, x)


def measured(network: Callable[[Any, Any], Any], selection: Selection = CHOSEN) -> Sample:
    problem = Problem(lambda w, x: jnp.sum(network(w, x) ** 2), W, X)
    tracer = Tracer(problem)
    inputs = tracer.inputs(X)
    return FlowPass(tracer.trace(X), inputs, selection=selection)(inputs)


def expected(used: tuple[int, ...] = (0, 1, 2)) -> tuple[list[Any], list[Any]]:
    """The value before each relu and its δ."""

    def loss(zeros: list[Any]) -> tuple[Any, list[Any]]:
        x, values = X, []
        for w, zero in zip(W[list(used)], zeros, strict=True):
            values.append(x @ w + zero)
            x = jax.nn.relu(values[-1])
        return jnp.sum(x**2), values

    deltas, values = jax.grad(loss, has_aux=True)([jnp.zeros((ROWS, WIDTH))] * len(used))
    return values, deltas


@pytest.mark.parametrize("network", [loop, jax.checkpoint(loop), jax.jit(written_out), on_devices])
def test_statistics_of_units_equal_those_of_plain_jax(network: Callable[[Any, Any], Any]) -> None:
    found = measured(network)
    for readings, truth in zip((found.forward, found.delta), expected(), strict=True):
        assert pooled(LEAST, list(readings.values())) == pytest.approx(
            np.min(np.abs(np.concatenate(truth)), axis=0), rel=1e-5
        )
        assert pooled(ALIVE, list(readings.values())) == pytest.approx(
            np.mean(np.concatenate(truth) != 0, axis=0)
        )


def test_each_step_of_a_loop_has_an_entry() -> None:
    (delta,) = measured(loop).delta.values()
    _, truth = expected()
    np.testing.assert_allclose(delta[LEAST], np.min(np.abs(np.stack(truth)), axis=1), rtol=1e-5)


def test_a_branch_that_is_not_taken_reads_as_no_elements() -> None:
    found = measured(branches)
    values, deltas = expected((0, 2))
    for readings, truth in ((found.forward, values), (found.delta, deltas)):
        (missed,) = [reading for reading in readings.values() if reading.count == 0]
        assert np.all(missed[LEAST] == np.inf)
        assert pooled(LEAST, list(readings.values())) == pytest.approx(
            np.min(np.abs(np.concatenate(truth)), axis=0), rel=1e-5
        )


def test_members_come_before_the_axes_that_a_statistic_keeps() -> None:
    class OfRows(Least):
        def own_axes(self, rank: int, units: Axes) -> Axes:
            return (1,)

    x = normal(2, 2, 3, 4)
    found = reduced(x, jnp.ones(4), (OfRows(),), members=(2,))
    np.testing.assert_allclose(found["least"], np.abs(x).min(axis=0).T)


def test_what_is_selected_beside_changes_no_other_number() -> None:
    more, less = measured(loop), measured(loop, FLOW)
    assert more.loss == less.loss
    for key, reading in less.delta.items():
        for statistic in FLOW.delta:
            np.testing.assert_array_equal(more.delta[key][statistic], reading[statistic])


def test_uses_with_different_numbers_of_units_are_not_pooled() -> None:
    parts = [Reading.of((LEAST,), {"least": np.ones(units)}, np.ones(()), units) for units in (2, 3)]
    assert pooled(LEAST, parts) is None
    assert pooled(LEAST, parts[:1]) == [1.0, 1.0]


def test_every_statistic_of_the_flow_pass_has_its_field_in_the_record() -> None:
    shown = {f"activation_{each.name}" for each in FLOW.value if each is not COUNT}
    shown |= {f"delta_{each.name}" for each in FLOW.delta}
    assert shown <= set(Layer.__dataclass_fields__)


@pytest.mark.parametrize("statistic", [*FLOW.delta, ALIVE], ids=lambda each: each.name)
def test_a_delta_that_never_reaches_the_tap_reads_as_zeros(statistic: Statistic) -> None:
    """JAX skips the backward rule of a value that no gradient comes back to, and the sink stays zero."""
    zeros = jnp.zeros((ROWS, WIDTH))
    found = statistic.of(Operand(zeros, jnp.ones(()), ()), (0, 1))
    assert np.all(np.asarray(found) == 0)


def test_the_spread_is_what_is_left_without_the_mean_over_the_first_axis() -> None:
    values = 5 + normal(3, ROWS, 4, WIDTH)
    found = reduced(jnp.asarray(values), jnp.ones(()), (COUNT, SPREAD))
    reading = Reading.of((COUNT, SPREAD), found, np.ones(()), values.size)
    assert np.isclose(pooled(SPREAD, [reading]), np.sqrt(np.mean((values - values.mean(0)) ** 2)))
    assert pooled(SPREAD, []) == 0
