"""Which programs let every example meet all others, and which ones mean it."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen
from jax import lax

from gradscope.load.problem import Problem
from gradscope.trace.domains.objective import Meeting, find_meetings
from gradscope.trace.program import Tracer

N = 6
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, 3)).astype(np.float32)
Y = RNG.normal(size=N).astype(np.float32)
LABELS = (Y > 0).astype(np.int32)
MLP = {
    "w1": RNG.normal(size=(3, 8)).astype(np.float32),
    "b1": np.zeros(8, np.float32),
    "w2": RNG.normal(size=(8, 1)).astype(np.float32),
    "b2": np.zeros(1, np.float32),
}


def mlp(p: Any, x: Any) -> Any:
    return jnp.tanh(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]


def features(p: Any, x: Any) -> Any:
    return jnp.tanh(x @ p["w1"] + p["b1"])


def meetings(loss: Any, params: Any = MLP, batch: Any = None) -> tuple[Meeting, ...]:
    batch = {"x": X, "y": Y, "labels": LABELS, "column": Y[:, None]} if batch is None else batch
    return find_meetings(Tracer(Problem(loss, params, batch)).trace(batch), batch)


def scanned(p: Any, b: Any) -> Any:
    """The predictions of a loop over the examples."""
    return lax.scan(lambda c, x: (c, mlp(p, x)), 0.0, b["x"])[1]


def remat(p: Any, b: Any) -> Any:
    return jax.checkpoint(lambda q: jnp.mean((mlp(q, b["x"]) - b["y"]) ** 2))(p)


def over_tokens(p: Any, b: Any) -> Any:
    """Sequences that are flattened with their examples."""
    tokens = jnp.stack([b["x"]] * 4, 1).reshape(-1, 3)
    targets = jnp.stack([b["y"]] * 4, 1).reshape(-1)
    return jnp.mean((mlp(p, tokens) - targets) ** 2)


def in_cond(p: Any, b: Any) -> Any:
    error = mlp(p, b["x"]) - b["y"]
    return lax.cond(jnp.sum(b["y"]) > 0, lambda e: jnp.mean(e**2), lambda e: jnp.mean(jnp.abs(e)), error)


SICK = {
    "squared": lambda p, b: jnp.mean((mlp(p, b["x"]) - b["y"]) ** 2),
    "absolute": lambda p, b: jnp.sum(jnp.abs(b["y"] - mlp(p, b["x"]))),
    "column of targets": lambda p, b: jnp.mean((b["column"] - mlp(p, b["x"])[:, 0]) ** 2),
    "reshaped targets": lambda p, b: jnp.mean((b["y"].reshape(-1, 1) - mlp(p, b["x"]).ravel()) ** 2),
    "bfloat16": lambda p, b: jnp.mean((mlp(p, b["x"]).astype(jnp.bfloat16) - b["y"]) ** 2),
    "cross-entropy": lambda p, b: optax.sigmoid_binary_cross_entropy(mlp(p, b["x"]), b["labels"]).mean(),
    "product": lambda p, b: -jnp.mean(b["labels"] * jax.nn.log_sigmoid(mlp(p, b["x"]))),
    "weights": lambda p, b: jnp.mean(b["y"] ** 2 * (mlp(p, b["x"]) - b["column"]) ** 2),
    "where": lambda p, b: -jnp.mean(jnp.where(b["labels"] == 1, mlp(p, b["x"]), -mlp(p, b["x"]) ** 2)),
    "maximum": lambda p, b: jnp.mean(jnp.maximum(0.0, 1 - b["y"] * mlp(p, b["x"]))),
    "one axis after the other": lambda p, b: jnp.mean(jnp.mean((mlp(p, b["x"]) - b["y"]) ** 2, axis=1)),
    "norm of each row": lambda p, b: jnp.linalg.norm(mlp(p, b["x"]) - b["y"], axis=-1).mean(),
    "root of the mean": lambda p, b: jnp.sqrt(jnp.mean((mlp(p, b["x"]) - b["y"]) ** 2)),
    "flattened": lambda p, b: jnp.mean((mlp(p, b["x"]) - b["y"]).ravel() ** 2),
    "kept by a sum": lambda p, b: jnp.mean((features(p, b["x"]).sum(-1, keepdims=True) - b["y"]) ** 2),
    "kept of targets": lambda p, b: jnp.mean((mlp(p, b["x"])[:, 0] - b["column"].max(1, keepdims=True)) ** 2),
    "kept axis": lambda p, b: jnp.mean((features(p, b["x"]).mean(-1, keepdims=True) - b["y"]) ** 2),
    "bootstrapped target": lambda p, b: jnp.mean(
        (mlp(p, b["x"]) - lax.stop_gradient(b["y"] + 0.9 * mlp(p, b["x"] + 1))) ** 2
    ),
    "concatenated inputs": lambda p, b: jnp.mean(
        (mlp(p, jnp.concatenate([b["x"][:, :2], b["column"]], axis=-1)) - b["y"]) ** 2
    ),
    "vmap": lambda p, b: jnp.mean((jax.vmap(lambda x: mlp(p, x))(b["x"]) - b["y"]) ** 2),
    "jit": lambda p, b: jax.jit(lambda a, y: jnp.mean((a - y) ** 2))(mlp(p, b["x"]), b["y"]),
    "scan": lambda p, b: jnp.mean((scanned(p, b) - b["y"]) ** 2),
    "checkpoint": remat,
    "cond": in_cond,
    "tokens": over_tokens,
    "beside a penalty": lambda p, b: jnp.mean((mlp(p, b["x"]) - b["y"]) ** 2) + jnp.sum(p["w1"] ** 2),
}  # fmt: skip


def info_nce(p: Any, b: Any) -> Any:
    h = features(p, b["x"])
    logits = h @ h.T / 0.1
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(N)).mean()


def triplet(p: Any, b: Any) -> Any:
    h = features(p, b["x"])
    d = jnp.sum((h[:, None] - h[None]) ** 2, -1)
    same = b["labels"][:, None] == b["labels"]
    hardest = jnp.max(jnp.where(same, d, 0.0), 1) - jnp.min(jnp.where(same, 1e9, d), 1)
    return jnp.mean(jax.nn.relu(hardest + 1))


def mmd(p: Any, b: Any) -> Any:
    h, z = mlp(p, b["x"]), b["column"]
    kernel = lambda a, c: jnp.exp(-jnp.sum((a[:, None] - c[None]) ** 2, -1)).mean()  # noqa: E731
    return kernel(h, h) - 2 * kernel(h, z) + kernel(z, z)


def cox(p: Any, b: Any) -> Any:
    risk, time = mlp(p, b["x"])[:, 0], b["y"]
    at_risk = time >= time[:, None]
    return -jnp.mean(risk - jnp.log(jnp.sum(at_risk * jnp.exp(risk), axis=1)))


def cox_of_a_column(p: Any, b: Any) -> Any:
    """The shapes of the fault, and a log of the sum over one axis: a partial likelihood."""
    risk = mlp(p, b["x"])
    return jnp.mean(jnp.log(jnp.sum(jnp.exp(risk - b["y"]), axis=1)))


def pairwise_vmap(p: Any, b: Any) -> Any:
    h, y = mlp(p, b["x"])[:, 0], b["y"]
    return jax.vmap(lambda a: jax.vmap(lambda c: (a - c) ** 2)(y))(h).mean()


def with_itself(p: Any, b: Any) -> Any:
    h = mlp(p, b["x"])
    return jnp.mean(jax.nn.relu(1 - (h - h[:, 0]) * (b["column"] - b["y"])))


def attention(p: Any, b: Any) -> Any:
    h = features(p, b["x"])
    mixed = jax.nn.softmax(h @ h.T) @ h
    return jnp.mean((mixed @ p["w2"] - b["column"]) ** 2)


def relations(p: Any, b: Any) -> Any:
    """Features of two examples are put together for each pair of them."""
    one, other = b["x"][:, None, :1], b["x"][None, :, :2]
    both = [jnp.broadcast_to(part, (N, N, part.shape[-1])) for part in (one, other)]
    out = mlp(p, jnp.concatenate(both, axis=-1))[..., 0]
    return jnp.mean((out - jnp.abs(b["y"][:, None] - b["y"])) ** 2)


HEALTHY = {
    "column": lambda p, b: jnp.mean((mlp(p, b["x"]) - b["column"]) ** 2),
    "row": lambda p, b: jnp.mean((mlp(p, b["x"])[:, 0] - b["y"]) ** 2),
    "squeezed": lambda p, b: jnp.mean((mlp(p, b["x"]).squeeze() - b["y"]) ** 2),
    "added": lambda p, b: jnp.mean((mlp(p, b["x"]) - b["y"][:, None]) ** 2),
    "pairs written out": lambda p, b: jnp.mean(jnp.abs(mlp(p, b["x"]) - b["y"][None, :])),
    "transposed": lambda p, b: jnp.mean(jnp.abs(mlp(p, b["x"]) - b["column"].T)),
    "with itself": with_itself,
    "mask of pairs": lambda p, b: jnp.mean(
        (1 - jnp.eye(N)) * (mlp(p, b["x"]) - b["y"]) ** 2
    ),
    "contrast": info_nce,
    "triplet": triplet,
    "kernel": mmd,
    "partial likelihood": cox,
    "partial likelihood of a column": cox_of_a_column,
    "vmap of vmap": pairwise_vmap,
    "attention over the batch": attention,
    "relations of all pairs": relations,
    "views one after the other": lambda p, b: jnp.mean(
        (mlp(p, jnp.concatenate([b["x"], b["x"] + 1]))[:, 0] - jnp.concatenate([b["y"], b["y"]])) ** 2
    ),
    "softmax over the other": lambda p, b: -jnp.mean(jax.nn.log_softmax(mlp(p, b["x"]) + b["y"], axis=0)[0]),
    "largest of each": lambda p, b: jnp.mean(jnp.max(mlp(p, b["x"]) - b["y"], axis=1)),
    "diagonal": lambda p, b: jnp.mean(jnp.diagonal((mlp(p, b["x"]) - b["y"]) ** 2)),
    "only in aux": lambda p, b: (
        jnp.mean((mlp(p, b["x"]) - b["column"]) ** 2),
        jnp.mean((mlp(p, b["x"]) > 0) == (b["y"] > 0)),
    ),
    "batch statistics": lambda p, b: jnp.mean(
        ((mlp(p, b["x"]) - mlp(p, b["x"]).mean(0)) / mlp(p, b["x"]).std(0) - b["column"]) ** 2
    ),
    "class weights": lambda p, b: jnp.mean(
        jnp.sum(jax.nn.log_softmax(features(p, b["x"])) * jnp.arange(8.0), -1) * b["y"]
    ),
    "quantiles": lambda p, b: jnp.mean(
        jnp.abs(mlp(p, b["x"]) - b["column"] - jnp.linspace(0.1, 0.9, N))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_a_column_against_a_row_is_found_whatever_is_around_it(name: str) -> None:
    assert meetings(SICK[name])


@pytest.mark.parametrize("name", HEALTHY)
def test_pairs_that_are_meant_and_equal_shapes_are_not(name: str) -> None:
    assert meetings(HEALTHY[name]) == ()


def test_the_shapes_are_those_that_the_author_sees() -> None:
    (found,) = meetings(SICK["squared"])
    assert (found.shapes, found.examples, found.targets, found.asked) == (((N, 1), (N,)), N, True, False)
    (found,) = meetings(SICK["tokens"])
    assert found.shapes == ((4 * N, 1), (4 * N,))
    (found,) = meetings(SICK["column of targets"])
    assert (found.shapes, found.targets) == (((N, 1), (N,)), True)
    for name in ("kept by a sum", "kept of targets", "kept axis"):
        (found,) = meetings(SICK[name])
        assert (found.shapes, found.asked) == (((N, 1), (N,)), False), name


def test_an_axis_that_is_written_out_is_told_apart() -> None:
    (found,) = meetings(lambda p, b: jnp.mean((b["y"][:, None] - mlp(p, b["x"])[:, 0]) ** 2))
    assert found.asked
    assert found.targets


def test_data_that_the_loss_closes_over_is_a_batch_too() -> None:
    for loss, sick in ((lambda p: jnp.mean((mlp(p, X) - Y) ** 2), True), (lambda p: mlp(p, X).mean(), False)):
        problem = Problem(loss, MLP)
        (batch,) = problem.batches()
        assert bool(find_meetings(Tracer(problem).trace(batch), batch)) is sick


class Regression(eqx.Module):
    hidden: eqx.nn.Linear
    out: eqx.nn.Linear

    def __call__(self, x: Any) -> Any:
        return self.out(jax.nn.relu(self.hidden(x)))


def test_a_model_of_equinox_and_one_of_flax() -> None:
    keys = jax.random.split(jax.random.key(0))
    model = Regression(eqx.nn.Linear(3, 8, key=keys[0]), eqx.nn.Linear(8, 1, key=keys[1]))
    assert meetings(lambda m, b: jnp.mean((jax.vmap(m)(b["x"]) - b["y"]) ** 2), model)
    assert not meetings(lambda m, b: jnp.mean((jax.vmap(m)(b["x"])[:, 0] - b["y"]) ** 2), model)
    net = linen.Sequential([linen.Dense(8), jnp.tanh, linen.Dense(1)])
    params = net.init(jax.random.key(0), X)
    assert meetings(lambda p, b: jnp.mean((net.apply(p, b["x"]) - b["y"]) ** 2), params)
    assert not meetings(lambda p, b: jnp.mean((net.apply(p, b["x"]) - b["column"]) ** 2), params)
