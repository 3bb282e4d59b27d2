"""Targets in the input of the model: told in the data, bit for bit, and in nothing that looks like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gradscope.load.problem import Problem
from gradscope.measure.leaks.copied import CopiedColumns, copied_columns, copied_tokens
from gradscope.measure.leaks.trial import Trials
from gradscope.trace.program import Tracer
from tests.trace.oracle import normal

N = 64
RNG = np.random.default_rng(0)
X, Y = normal(0, N, 5), np.asarray(RNG.integers(0, 3, N))
BINARY = (Y > 0).astype(np.float32)
WINDOWS = normal(3, N, 6, 2)
TOKENS = np.asarray(RNG.integers(0, 9, (N, 8)))
W = {"w": normal(1, 16, 8), "v": normal(2, 8, 3)}
Loss = Callable[[Any, Any], Any]


def trials(loss: Loss, params: Any, batch: Any) -> Trials:
    problem = Problem(loss, params, batch)
    tracer = Tracer(problem)
    return Trials(tracer.trace(batch), batch, tracer.inputs(batch, 0))


def hidden(params: Any, x: Any) -> Any:
    return jnp.tanh(x @ params["w"][: x.shape[-1]])


def classes(params: Any, batch: Any) -> Any:
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(hidden(params, x) @ params["v"], y).mean()


def one_hot(params: Any, batch: Any) -> Any:
    x, y = batch
    scores = jax.nn.log_softmax(hidden(params, x) @ params["v"])
    return -jnp.mean(jnp.sum(jax.nn.one_hot(y, 3) * scores, axis=1))


def binary(params: Any, batch: Any) -> Any:
    x, y = batch
    logits = (hidden(params, x) @ params["v"])[:, 0]
    return optax.sigmoid_binary_cross_entropy(logits, y).mean()


def squared(params: Any, batch: Any) -> Any:
    x, y = batch
    return jnp.mean((hidden(params, x) @ params["v"][:, :1] - y) ** 2)


def recurrent(params: Any, batch: Any) -> Any:
    x, y = batch

    def step(h: Any, each: Any) -> tuple[Any, None]:
        return jnp.tanh(each @ params["w"][:2] + h), None

    h, _ = jax.lax.scan(step, jnp.zeros((len(x), 8)), jnp.swapaxes(x, 0, 1))
    return jnp.mean((h @ params["v"][:, :1] - y) ** 2)


def windowed(params: Any, batch: Any) -> Any:
    x, y = batch
    h = jnp.tanh(x @ params["w"][:2]).mean(axis=1)
    return jnp.mean((h @ params["v"][:, :1] - y) ** 2)


def whole_table(params: Any, table: Any) -> Any:
    return squared(params, (table, table[:, 2:3]))


def beside(x: Any, *columns: Any) -> Any:
    return np.concatenate([x, *(np.asarray(each, np.float32).reshape(len(x), -1) for each in columns)], 1)


TABLE = beside(X, 3.0 * BINARY - 1.0)


@pytest.mark.parametrize(
    ("loss", "batch", "columns", "last"),
    [
        (binary, (beside(X, BINARY), BINARY), (5,), False),
        (binary, (TABLE, BINARY), (5,), False),
        (classes, (beside(X, Y), Y), (5,), False),
        (classes, (beside(np.eye(3)[Y], X), Y), (0, 1, 2), False),
        (one_hot, (beside(X, 10.0 * Y), Y), (5,), False),
        (squared, (X, X[:, 3:4].copy()), (3,), False),
        (whole_table, X, (2,), False),
        (windowed, (WINDOWS, WINDOWS[:, -1, :1].copy()), (0,), True),
    ],
    ids=[
        "a label",
        "scaled",
        "a class",
        "one-hot rows",
        "a number for each class",
        "a target",
        "cut from one array",
        "the last step of a window",
    ],
)
def test_columns_that_say_the_target(loss: Loss, batch: Any, columns: tuple[int, ...], last: bool) -> None:
    found = copied_columns(trials(loss, W, batch))
    assert found is not None
    assert (found.columns, found.last) == (columns, last)


def test_other_frameworks_bring_their_columns_to_a_product_too() -> None:
    batch = beside(X, BINARY), BINARY
    linen, haiku = nn.Dense(1), hk.without_apply_rng(hk.transform(lambda x: hk.Linear(1)(x)))
    key = jax.random.key(0)
    mlp = eqx.nn.MLP(6, 1, 4, 1, key=key)
    applied: list[tuple[Any, Callable[[Any, Any], Any]]] = [
        (linen.init(key, batch[0]), linen.apply),
        (haiku.init(key, batch[0]), haiku.apply),
        (eqx.filter(mlp, eqx.is_array), lambda p, x: jax.vmap(eqx.combine(p, mlp))(x)),
    ]
    for params, apply in applied:

        def loss(params: Any, batch: Any, apply: Any = apply) -> Any:
            return optax.sigmoid_binary_cross_entropy(apply(params, batch[0])[:, 0], batch[1]).mean()

        found = copied_columns(trials(loss, params, batch))
        assert found is not None
        assert found.columns == (5,)


def autoencoder(params: Any, x: Any) -> Any:
    return jnp.mean((hidden(params, x) @ params["w"][: x.shape[1]].T - x) ** 2)


def conditional(params: Any, batch: Any) -> Any:
    x, label = batch
    return jnp.mean((hidden(params, beside_traced(x, label)) @ params["w"][:5].T - x) ** 2)


def beside_traced(x: Any, label: Any) -> Any:
    return jnp.concatenate([x, jax.nn.one_hot(label, 3)], axis=1)


def treated(params: Any, batch: Any) -> Any:
    """Two outcomes, of which the treatment, an input as well, chooses the one that was seen."""
    x, treatment, y = batch
    both = hidden(params, jnp.concatenate([x, treatment[:, None]], axis=1)) @ params["v"]
    seen = treatment * both[:, 1] + (1 - treatment) * both[:, 0]
    return jnp.mean((seen - y) ** 2)


def tokens_of(x: Any, params: Any) -> Any:
    return params["w"][:9][x]


def values_of_actions(params: Any, batch: Any) -> Any:
    x, action, reward = batch
    chosen = jnp.take_along_axis(hidden(params, x) @ params["v"], action[:, None], axis=1)[:, 0]
    return jnp.mean((chosen - reward) ** 2)


@pytest.mark.parametrize(
    ("loss", "batch"),
    [
        (classes, (X, Y)),
        (autoencoder, X),
        (conditional, (X, Y)),
        (treated, (X, BINARY, X[:, 0] + BINARY)),
        (values_of_actions, (beside(X, Y), Y, X[:, 0] ** 2)),
        (windowed, (WINDOWS[:, :-1], WINDOWS[:, -1, :1].copy())),
        (recurrent, (WINDOWS, WINDOWS[:, 0, :1].copy())),
        (one_hot, (np.eye(3, dtype=np.float32)[Y], Y)),
        (binary, (beside(X, np.where(np.arange(N) < 3, 1 - BINARY, BINARY)), BINARY)),
        (binary, (beside(X[:8], BINARY[:8]), BINARY[:8])),
    ],
    ids=[
        "a classifier",
        "an autoencoder",
        "one that knows the class",
        "a treatment",
        "the value of an action",
        "a window that ends before",
        "the first step, to be remembered",
        "classes out of nothing but classes",
        "labels with noise",
        "eight rows",
    ],
)
def test_what_is_no_column_that_says_the_target(loss: Loss, batch: Any) -> None:
    assert copied_columns(trials(loss, W, batch)) is None


def test_exchanged_columns_come_from_other_rows() -> None:
    found = copied_columns(trials(binary, W, (beside(X, BINARY), BINARY)))
    assert isinstance(found, CopiedColumns)
    moved = found.permuted()
    np.testing.assert_array_equal(moved[:, :5], X)
    np.testing.assert_array_equal(np.sort(moved[:, 5]), np.sort(BINARY))
    assert 0.3 < np.mean(moved[:, 5] != BINARY) < 0.7


def language(
    *, mask: bool = True, reads: slice = slice(None, -1), says: slice = slice(None, -1), inside: bool = False
) -> Loss:
    """One attention over the tokens; `inside`: it moves them by one itself."""

    def loss(params: Any, tokens: Any) -> Any:
        read, said = tokens[:, reads], tokens[:, says]
        if inside:
            read = jnp.pad(read, ((0, 0), (1, 0)))[:, :-1]
        x = tokens_of(read, params)
        scores = x @ jnp.swapaxes(x, 1, 2)
        if mask:
            scores = jnp.where(jnp.tril(jnp.ones(scores.shape[1:], bool)), scores, -jnp.inf)
        h = x + jax.nn.softmax(scores) @ x
        scores = h @ params["w"][:9].T
        return optax.softmax_cross_entropy_with_integer_labels(scores, said).mean()

    return loss


def test_tokens_that_were_not_shifted() -> None:
    found = copied_tokens(trials(language(), W, TOKENS))
    assert found is not None
    assert (found.position, found.length) == (5, 7)
    assert found.change > 0


def test_tokens_that_were_not_shifted_of_a_model_of_nnx() -> None:
    model = nnx.Sequential(nnx.Embed(9, 4, rngs=nnx.Rngs(0)), nnx.Linear(4, 9, rngs=nnx.Rngs(1)))
    graph, params = nnx.split(model)

    def loss(params: Any, batch: Any) -> Any:
        scores = nnx.merge(graph, params)(batch["x"])
        return optax.softmax_cross_entropy_with_integer_labels(scores, batch["y"]).mean()

    assert (
        copied_tokens(trials(loss, nnx.to_pure_dict(params), {"x": TOKENS, "y": TOKENS.copy()})) is not None
    )


@pytest.mark.parametrize(
    "loss",
    [
        language(says=slice(1, None)),
        language(mask=False),
        language(inside=True),
        lambda p, x: jnp.mean((tokens_of(x, p).mean(1) @ p["v"]) ** 2),
    ],
    ids=["shifted", "a model that sees both sides", "shifted inside", "no targets"],
)
def test_tokens_that_are_no_copies(loss: Loss) -> None:
    assert copied_tokens(trials(loss, W, TOKENS)) is None


def test_tokens_with_masked_places_are_no_copies() -> None:
    def loss(params: Any, batch: Any) -> Any:
        read, said = batch
        scores = tokens_of(read, params) @ params["w"][:9].T
        return optax.softmax_cross_entropy_with_integer_labels(scores, said).mean()

    read = np.where(RNG.random(TOKENS.shape) < 0.15, 0, TOKENS)
    assert copied_tokens(trials(loss, W, (read, TOKENS))) is None
