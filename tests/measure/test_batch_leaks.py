"""Examples that depend on each other, and healthy programs in which something runs over the batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.leaks.mixed import mixed_examples
from gradscope.measure.leaks.trial import Trials
from gradscope.measure.objective import objective_of
from gradscope.records import BatchLeak, BatchMix, OutputFault
from gradscope.trace.program import Tracer

N, T, C, D = 8, 6, 5, 7
RNG = np.random.default_rng(2)
LABELS = RNG.integers(0, C, N)
BATCH = {
    "x": RNG.normal(size=(N, 3)).astype(np.float32),
    "steps": RNG.normal(size=(N, T, 3)).astype(np.float32),
    "y": LABELS,
    "onehot": np.eye(C, dtype=np.float32)[LABELS],
    "target": RNG.normal(size=N).astype(np.float32),
}
PARAMS = {
    "w": RNG.normal(size=(3, D)).astype(np.float32),
    "state": RNG.normal(size=(D, D)).astype(np.float32) / 3,
    "head": RNG.normal(size=(D, C)).astype(np.float32),
    "one": RNG.normal(size=(D, 1)).astype(np.float32),
}


def leaks(loss: Any, batch: Any = BATCH) -> list[BatchLeak]:
    tracer = Tracer(Problem(loss, PARAMS, batch))
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    return [
        *objective_of(program, batch, [inputs]).batch_leaks,
        *mixed_examples(Trials(program, batch, inputs)),
    ]


def hidden(p: Any, b: Any) -> Any:
    return jnp.tanh(b["x"] @ p["w"])


def logits(p: Any, b: Any) -> Any:
    return hidden(p, b) @ p["head"]


def entropy(z: Any, b: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(z, b["y"]).mean()


def log_p(p: Any, b: Any, axis: int = 0) -> Any:
    return jax.nn.log_softmax(logits(p, b), axis=axis)


def picked(q: Any, b: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(q, b["y"][:, None], 1))


OVER_ROWS = {
    "indexed": lambda p, b: -jnp.mean(log_p(p, b)[jnp.arange(N), b["y"]]),
    "taken": lambda p, b: picked(log_p(p, b), b),
    "one-hot": lambda p, b: -jnp.mean(jnp.sum(log_p(p, b) * b["onehot"], 1)),
    "log of a softmax": lambda p, b: picked(jnp.log(jax.nn.softmax(logits(p, b), 0) + 1e-8), b),
    "jit": lambda p, b: picked(jax.jit(log_p)(p, b), b),
}  # fmt: skip


@pytest.mark.parametrize("name", OVER_ROWS)
def test_a_softmax_over_the_rows_of_class_scores_is_seen(name: str) -> None:
    (found,) = leaks(OVER_ROWS[name])
    assert (found.mix, found.shape, found.axis, found.classes) == (BatchMix.SOFTMAX, (N, C), 0, 1)
    assert found.layer == "head"


def over_places(axis: int, labelled: int) -> Any:
    """Of steps: scores and one-hot labels are (N, T, C)."""

    def loss(p: Any, b: Any) -> Any:
        scores = jax.nn.log_softmax(jnp.tanh(b["steps"] @ p["w"]) @ p["head"], axis)
        labels = jax.nn.one_hot(b["y"][:, None], scores.shape[labelled])
        labels = labels if labelled == 2 else jnp.swapaxes(labels, 1, 2)
        return -jnp.mean(jnp.sum(labels * scores, labelled))

    return loss


def faults(loss: Any) -> list[Any]:
    tracer = Tracer(Problem(loss, PARAMS, BATCH))
    found = objective_of(tracer.trace(BATCH), BATCH, [tracer.inputs(BATCH)])
    assert found.batch_leaks == ()
    return [each for each in found.outputs if each.fault is OutputFault.WRONG_AXIS]


def test_a_softmax_over_places_with_labels_of_classes_is_seen() -> None:
    (one,) = faults(over_places(1, 2))
    assert (one.shape, one.axis, one.classes_axis, one.classes) == ((N, T, C), 1, 2, C)


def test_a_softmax_along_the_axis_of_its_labels_is_right() -> None:
    assert faults(over_places(2, 2)) == []
    assert faults(over_places(1, 1)) == []


def recurrent(p: Any, rows: Any) -> Any:
    """Steps first."""

    def step(h: Any, x: Any) -> Any:
        return jnp.tanh(x @ p["w"] + h @ p["state"]), None

    return lax.scan(step, jnp.zeros((rows.shape[1], D)), rows)[0]


def reshaped(p: Any, b: Any) -> Any:
    return entropy(recurrent(p, b["steps"].reshape(T, N, 3)) @ p["head"], b)


def reshaped_inside(p: Any, b: Any) -> Any:
    h = jnp.tanh(b["steps"] @ p["w"]).reshape(T, N, D)
    return jnp.mean(((h.mean(0) @ p["one"])[:, 0] - b["target"]) ** 2)


@pytest.mark.parametrize("loss", [reshaped, reshaped_inside])
def test_a_reshape_in_the_place_of_a_transpose_is_seen(loss: Any) -> None:
    (found,) = leaks(loss)
    assert (found.mix, found.axis) == (BatchMix.RESHAPE, 0)
    assert (found.shape[:2], found.result[:2]) == ((N, T), (T, N))
    assert found.example % 2 == 1
    assert found.change is not None
    assert found.largest is not None
    assert 0 < found.change <= found.largest


def contrastive(p: Any, b: Any) -> Any:
    z = hidden(p, b)
    scores = z @ (z + 0.1).T
    rows, columns = (jnp.diag(jax.nn.log_softmax(scores, axis)) for axis in (0, 1))
    return -jnp.mean(rows + columns)


def two_ways(p: Any, b: Any) -> Any:
    scores = hidden(p, b) @ hidden(p, b).T
    labels = jnp.arange(N)
    both = (optax.softmax_cross_entropy_with_integer_labels(each, labels) for each in (scores, scores.T))
    return sum(each.mean() for each in both)


def sinkhorn(p: Any, b: Any) -> Any:
    z = logits(p, b)
    for _ in range(2):
        z = jax.nn.log_softmax(jax.nn.log_softmax(z, axis=1), axis=0)
    return -jnp.mean(jnp.sum(z * b["onehot"], 1))


def ranking(p: Any, b: Any) -> Any:
    scores = (hidden(p, b) @ p["one"])[:, 0]
    return -jnp.sum(jax.nn.softmax(b["target"]) * jax.nn.log_softmax(scores, axis=0))


def classes_first(p: Any, b: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits(p, b).T, axis=0), b["y"][None], 0))


def batch_normalized(p: Any, b: Any) -> Any:
    h = b["x"] @ p["w"]
    return entropy(jax.nn.relu((h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5)) @ p["head"], b)


def between_examples(p: Any, b: Any) -> Any:
    h = hidden(p, b)
    return entropy(jax.nn.softmax(h @ h.T) @ h @ p["head"], b)


def weighted(p: Any, b: Any) -> Any:
    """Advantages become weights that sum to 1 over the batch."""
    weights = jax.nn.softmax(b["target"] - lax.stop_gradient(hidden(p, b) @ p["one"])[:, 0])
    chosen = jnp.take_along_axis(log_p(p, b, 1), b["y"][:, None], 1)[:, 0]
    return -jnp.sum(weights * chosen)


def transposed(p: Any, b: Any) -> Any:
    return entropy(recurrent(p, b["steps"].swapaxes(0, 1)) @ p["head"], b)


def undone(p: Any, b: Any) -> Any:
    """Layers that act on each element alone do not mind, and the order is restored."""
    h = jnp.tanh(b["steps"].reshape(T, N, 3) @ p["w"]).reshape(N, T, D)
    return entropy(h.mean(1) @ p["head"], b)


def flattened(p: Any, b: Any) -> Any:
    h = jnp.tanh(b["steps"].reshape(N * T, 3) @ p["w"]).reshape(N, T, D)
    return entropy(h.mean(1) @ p["head"], b)


HEALTHY = {
    "over classes": lambda p, b: picked(log_p(p, b, 1), b),
    "contrastive": contrastive,
    "contrastive, two ways": two_ways,
    "sinkhorn": sinkhorn,
    "ranking": ranking,
    "classes first": classes_first,
    "batch statistics": batch_normalized,
    "attention between examples": between_examples,
    "weights over the batch": weighted,
    "transposed": transposed,
    "undone": undone,
    "flattened": flattened,
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_meant_to_run_over_the_batch_is_not(name: str) -> None:
    assert leaks(HEALTHY[name]) == []
