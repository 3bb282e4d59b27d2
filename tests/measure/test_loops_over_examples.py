"""Loops whose steps are the examples of the batch, and healthy ones that look like it."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.leaks.mixed import mixed_examples
from gradscope.measure.leaks.trial import Trials
from gradscope.records import BatchLeak, BatchMix
from gradscope.trace.program import Tracer

N, T, F, D = 8, 6, 3, 5
RNG = np.random.default_rng(2)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


PARAMS = {"w": normal(F, D), "u": normal(D, D) / 3, "v": normal(D), "k": normal(3, 3, 1, 1)}
BATCH = {"x": normal(N, T, F), "y": normal(N)}
SQUARE = {"x": normal(N, N, F), "y": normal(N)}


def leaks(loss: Any, batch: Any = BATCH, params: Any = PARAMS) -> list[BatchLeak]:
    tracer = Tracer(Problem(loss, params, batch))
    program = tracer.trace(batch)
    return list(mixed_examples(Trials(program, batch, tracer.inputs(batch))))


def cell(p: Any, h: Any, x: Any) -> Any:
    return jnp.tanh(x @ p["w"] + h @ p["u"]).astype(h.dtype)


def states(p: Any, x: Any, **options: Any) -> Any:
    """Over the first axis."""

    def step(h: Any, row: Any) -> Any:
        h = cell(p, h, row)
        return h, h

    return lax.scan(step, jnp.zeros((*x.shape[1:-1], D), x.dtype), x, **options)[1]


def squares(p: Any, h: Any, b: Any) -> Any:
    return jnp.mean((h @ p["v"] - b["y"]) ** 2)


def by_cells(p: Any, b: Any) -> Any:
    def step(h: Any, row: Any) -> Any:
        h = jax.vmap(lambda h, x: cell(p, h, x))(h, row)
        return h, h

    hs = lax.scan(step, jnp.zeros((b["x"].shape[1], D)), b["x"])[1]
    return squares(p, hs[:, -1], b)


def gated(p: Any, b: Any) -> Any:
    def step(h: Any, row: Any) -> Any:
        z, n = jnp.split(jnp.concatenate([cell(p, h, row), row @ p["w"]], -1), 2, -1)
        h = jax.nn.sigmoid(z) * h + jnp.tanh(n)
        return h, h

    return squares(p, lax.scan(step, jnp.zeros((T, D)), b["x"])[1].mean(1), b)


SICK = {
    "last": lambda p, b: squares(p, states(p, b["x"])[:, -1], b),
    "mean": lambda p, b: squares(p, states(p, b["x"]).mean(1), b),
    "reversed": lambda p, b: squares(p, states(p, b["x"], reverse=True)[:, 0], b),
    "a vmapped cell": by_cells,
    "gates": gated,
    "jit": jax.jit(lambda p, b: squares(p, states(p, b["x"])[:, -1], b)),
    "half precision": lambda p, b: squares(p, states(p, b["x"].astype(jnp.bfloat16))[:, -1], b),
}


@pytest.mark.parametrize("name", SICK)
def test_a_loop_over_the_examples_is_seen(name: str) -> None:
    (found,) = leaks(SICK[name])
    assert (found.mix, found.shape[:2], found.axis, found.places) == (BatchMix.RECURRENCE, (N, T), 0, T)
    assert found.change is not None
    assert found.change > 0


def test_as_many_places_as_examples_are_told_apart() -> None:
    assert len(leaks(SICK["last"], SQUARE)) == 1
    steps_first = lambda p, b: squares(p, states(p, b["x"])[-1], b)  # noqa: E731
    assert leaks(steps_first, SQUARE) == []


class Model(nn.Module):
    time_major: bool

    @nn.compact
    def __call__(self, x: Any) -> Any:
        h = nn.RNN(nn.GRUCell(D), time_major=self.time_major)(x)
        return nn.Dense(1)(h[:, -1])[:, 0]


@pytest.mark.parametrize("time_major", [True, False])
def test_the_recurrent_layer_of_flax_that_takes_steps_first(time_major: bool) -> None:
    model = Model(time_major)
    params = model.init(jax.random.key(0), BATCH["x"])
    found = leaks(lambda p, b: jnp.mean((model.apply(p, b["x"]) - b["y"]) ** 2), params=params)
    assert [each.mix for each in found] == [BatchMix.RECURRENCE] * time_major


def steps_first(p: Any, b: Any) -> Any:
    return squares(p, states(p, b["x"].swapaxes(0, 1))[-1], b)


def labelled_steps(p: Any, b: Any) -> Any:
    """A batch that is (steps, examples), with a target for each step."""
    return jnp.mean((states(p, b["x"]) @ p["v"] - b["x"][..., 0]) ** 2)


def one_series(p: Any, b: Any) -> Any:
    """The rows are the steps of one long series."""
    return squares(p, states(p, b["x"][:, 0]), b)


def averaged_features(p: Any, b: Any) -> Any:
    """A moving average of the features of one series."""
    x = b["x"].reshape(N, T * F)
    average = lax.scan(lambda h, row: (0.9 * h + row,) * 2, jnp.zeros(T * F), x)[1]
    return squares(p, jnp.tanh(average[:, :F] @ p["w"]), b)


def a_video(p: Any, b: Any) -> Any:
    """Frames of one video, with a state that sees neighbours."""

    def step(h: Any, frame: Any) -> Any:
        h = jnp.tanh(lax.conv_general_dilated(
            (h + frame)[None, :, :, None], p["k"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0, :, :, 0])  # fmt: skip
        return h, h

    hs = lax.scan(step, jnp.zeros((T, F)), b["x"])[1]
    return squares(p, jnp.tanh(hs.mean(1) @ p["w"]), b)


def tasks(p: Any, b: Any) -> Any:
    """Weights that go from task to task, with one step on each."""

    def step(w: Any, x: Any) -> Any:
        return w - 0.1 * jax.grad(lambda w: jnp.mean((x @ w) ** 2))(w), jnp.tanh(x @ w).mean(0)

    return squares(p, lax.scan(step, p["w"], b["x"])[1], b)


def mapped(p: Any, b: Any) -> Any:
    return squares(p, lax.map(lambda x: jnp.tanh(x @ p["w"]).mean(0), b["x"]), b)


HEALTHY = [steps_first, labelled_steps, one_series, averaged_features, a_video, tasks, mapped]


@pytest.mark.parametrize("loss", HEALTHY)
def test_a_loop_that_is_meant_is_not(loss: Any) -> None:
    assert leaks(loss) == []


def test_a_batch_of_steps_first_with_one_label_each_is_not() -> None:
    batch = {"x": normal(T, N, F), "y": RNG.integers(0, 3, (T, N))}

    def loss(p: Any, b: Any) -> Any:
        logits = states(p, b["x"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, b["y"]).mean()

    assert leaks(loss, batch) == []
