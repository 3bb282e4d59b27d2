"""Counts by size, against NumPy and on what is easily miscounted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.measure.histograms import EDGES, FIRST, NONFINITE, by_size, histogram, histograms
from gradscope.records.options import CheckOptions
from gradscope.records.progress import silent
from gradscope.runs.check import check_problem
from gradscope.trace.program import Tracer


def slowly(values: np.ndarray) -> list[int]:
    """Element by element."""
    counts = [0] * (NONFINITE + 1)
    for value in np.abs(values.astype(np.float32)).ravel():
        if not np.isfinite(value):
            counts[NONFINITE] += 1
        else:
            counts[min(sum(value >= edge for edge in EDGES.astype(np.float32)), EDGES.size)] += 1
    return counts


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_counts_are_those_of_numpy(dtype: str) -> None:
    key = jax.random.key(0)
    values = (jax.random.normal(key, (5, 60)) * 10.0 ** jnp.linspace(-6, 4, 60)).astype(dtype)
    values = values.at[0, :4].set(jnp.array([0.0, jnp.nan, -jnp.inf, 1.0], dtype))
    assert np.asarray(jax.jit(by_size)(values)).tolist() == slowly(np.asarray(values.astype("float32")))


def test_a_stacked_leaf_is_counted_row_by_row() -> None:
    values = jax.random.normal(jax.random.key(1), (7, 3, 4))
    found = np.asarray(by_size(values, (1,)))
    assert found.tolist() == [slowly(np.asarray(values[:, row])) for row in range(3)]


def test_an_edge_belongs_to_the_bin_above_it_and_empty_ends_are_left_out() -> None:
    values = jnp.array([1.0, 0.999, 10.0, 0.0, 0.0, 3e38, jnp.nan])
    found = histogram("l", "weight", np.asarray(by_size(values)))
    assert found.first == -1
    assert found.counts[:4] == (1, 1, 0, 1)
    assert (found.zeros, found.nonfinite, found.total) == (2, 1, 7)
    assert histogram("l", "weight", np.asarray(by_size(jnp.zeros(3)))).counts == ()
    assert FIRST < 0


def loss(params: dict[str, jax.Array], batch: jax.Array) -> jax.Array:
    def step(h: jax.Array, w: jax.Array) -> tuple[jax.Array, None]:
        return jnp.tanh(h @ w), None

    h, _ = jax.lax.scan(step, batch, params["stack"])
    return jnp.mean((h @ params["head"] + params["bias"]) ** 2)


def test_layers_of_a_stack_have_a_histogram_each() -> None:
    key = jax.random.key(2)
    params = {
        "stack": jax.random.normal(key, (3, 4, 4)) * jnp.array([1.0, 1e-3, 1e3])[:, None, None],
        "head": jnp.ones((4, 2)),
        "bias": jnp.zeros(2),
    }
    batch = jax.random.normal(key, (5, 4))
    tracer = Tracer(Problem(loss, params, batch))
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    found, _ = histograms(program, FlowPass(program, inputs), inputs, progress=silent)
    weights = {each.layer: each for each in found if each.of == "weight"}
    gradients = {each.layer: each for each in found if each.of == "gradient"}
    assert list(weights) == list(gradients)
    assert [name for name in weights if name.startswith("stack")] == ["stack[0]", "stack[1]", "stack[2]"]
    truth = jax.grad(loss)(params, batch)
    for row in range(3):
        name = f"stack[{row}]"
        assert weights[name] == histogram(name, "weight", np.array(slowly(np.asarray(params["stack"][row]))))
        assert gradients[name].total == 16
        assert abs(gradients[name].first - np.floor(2 * np.log10(np.abs(truth["stack"][row]).min()))) <= 1
    assert sum(each.zeros for each in weights.values()) == 2


def test_check_counts_only_when_it_is_asked_to() -> None:
    problem = Problem(
        lambda params, batch: jnp.sum(params["w"] * batch) ** 2, {"w": jnp.ones(3)}, jnp.ones(3)
    )
    counted, usual = (
        check_problem(problem, CheckOptions(histograms=asked), target="m.py").flow.histograms
        for asked in (True, False)
    )
    assert usual == ()
    assert [(each.layer, each.of, each.counts, each.first) for each in counted] == [
        ("w", "weight", (3,), 0),
        ("w", "gradient", (3,), 1),
    ]
