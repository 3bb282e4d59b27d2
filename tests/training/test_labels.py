"""Labels in runs, and what only looks like them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.records import LabelMixing, ShortTraining
from gradscope.rules import Parts, judge
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer
from gradscope.training.labels import label_mixing
from tests.rules.training.made import trained

RNG = np.random.default_rng(0)
Y = np.sort(RNG.integers(0, 5, 320)).astype(np.int32)
X = (np.eye(5)[Y] + RNG.normal(size=(320, 5))).astype(np.float32)


def loss(params: Any, batch: Any) -> Any:
    scores = batch["x"] @ params["w"] + params["b"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["y"]).mean()


def cut(order: Any) -> list[dict[str, Any]]:
    return [{"x": X[rows], "y": Y[rows]} for rows in np.split(order, 20)]


def rules(batches: list[dict[str, Any]]) -> set[str]:
    params = {"w": jax.random.normal(jax.random.key(0), (5, 5)) / 5**0.5, "b": jnp.zeros(5)}
    return {f.rule for f in check_loss(loss, params, batches=batches, optimizer=optax.adam(1e-2)).findings}


def test_sorted_labels_are_told_and_shuffled_ones_are_not() -> None:
    assert "sorted-batches" in rules(cut(np.arange(320)))
    assert "sorted-batches" not in rules(cut(RNG.permutation(320)))


def of_labels(batches: list[Any]) -> list[LabelMixing]:
    """Of arrays that choose among the scores of five classes."""

    def choose(params: Any, labels: Any) -> Any:
        scores = jnp.ones((max(jnp.size(labels), 1), 5)) @ params
        return -jnp.mean(
            jax.nn.log_softmax(scores)[jnp.arange(jnp.size(labels)), jnp.ravel(labels).astype(int)]
        )

    tracer = Tracer(Problem(choose, jnp.ones((5, 5)), batches[0]))
    return list(label_mixing(tracer.trace(batches[0]), tracer.inputs(batches[0]), batches))


def mixing(batches: list[Any]) -> list[tuple[int, float, float]]:
    return [(m.classes, m.in_a_batch, m.expected) for m in of_labels(batches)]


def test_the_numbers_are_those_of_counting() -> None:
    ((classes, inside, expected),) = mixing([np.array([0, 0, 1, 1]), np.array([1, 1, 2, 2])])
    assert (classes, inside) == (3, 2.0)
    assert expected == pytest.approx(2 * (1 - 0.75**4) + (1 - 0.5**4))


@pytest.mark.parametrize(
    "array",
    [np.zeros((8, 3), np.int32), np.zeros(8, np.float32), np.zeros(3, np.int32), np.int32(4)],
    ids=["tokens", "floats", "three rows", "a number"],
)
def test_what_is_no_label(array: Any) -> None:
    assert mixing([array] * 6) == []


def test_rare_classes_and_few_batches_tell_nothing() -> None:
    rare = [np.array([0] * 15 + [int(i == 7)]) for i in range(20)]
    (found,) = of_labels(rare)
    assert found.in_a_batch / found.expected > 0.5
    one_each = [np.full(8, i) for i in range(4)]
    training: ShortTraining = trained(labels=tuple(of_labels(one_each)))
    assert judge(Parts(training=training))[0] == ()
    training = trained(labels=tuple(of_labels([*one_each, np.full(8, 4)])))
    assert [f.rule for f in judge(Parts(training=training))[0]] == ["sorted-batches"]


def test_lengths_of_buckets_are_no_labels() -> None:
    def masked(params: Any, batch: Any) -> Any:
        seen = jnp.arange(5)[None] < batch["y"][:, None]
        return jnp.sum(seen * (batch["x"] @ params["w"]) ** 2)

    params = {"w": jax.random.normal(jax.random.key(0), (5, 5))}
    found = check_loss(masked, params, batches=cut(np.arange(320)), optimizer=optax.adam(1e-2))
    assert "sorted-batches" not in {finding.rule for finding in found.findings}


def test_edges_of_a_graph_and_masks_of_whole_rows_are_no_labels() -> None:
    def looked_up(params: Any, batch: Any) -> Any:
        nodes = batch["nodes"] @ params
        edges = nodes[batch["senders"]]
        heights = (batch["nodes"] @ params[:, :1])[batch["receivers"]]
        return jnp.sum(edges**2) + jnp.sum(heights**2)

    def masked(params: Any, batch: Any) -> Any:
        log_p = jax.nn.log_softmax(batch["nodes"] @ params) * jax.nn.one_hot(batch["y"], 5)
        return -jnp.sum(log_p * batch["mask"][:, None]) / jnp.sum(batch["mask"])

    def of(loss: Any, **integers: Any) -> list[str]:
        batches = [{"nodes": X[:16], **{n: rows[part] for n, rows in integers.items()}} for part in (0, 1)]
        tracer = Tracer(Problem(loss, np.eye(5, dtype=np.float32), batches[0]))
        found = label_mixing(tracer.trace(batches[0]), tracer.inputs(batches[0]), batches)
        return [each.name for each in found]

    turns = np.stack([np.arange(16) % 4, np.arange(16) % 3])
    assert of(looked_up, senders=turns, receivers=turns) == []
    assert of(masked, y=turns, mask=turns % 2) == ["y"]
