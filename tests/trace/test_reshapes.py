"""Which reshapes have the shape of another order of the axes, and what they mix."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gradscope.load.problem import Problem
from gradscope.runs.check import check_loss
from gradscope.trace.domains.reshapes import Suspect, exchange_of, mixing, suspects, written
from gradscope.trace.program import Tracer

Shape = tuple[int, ...]
EXCHANGED: list[tuple[Shape, Shape, str]] = [
    ((20, 30), (30, 20), "jnp.moveaxis(x, 1, 0)"),
    ((8, 16, 32), (8, 4, 16, 8), "jnp.moveaxis(x.reshape(8, 16, 4, 8), 2, 1)"),
    ((8, 4, 16, 8), (8, 16, 32), "jnp.moveaxis(x, 1, 2).reshape(8, 16, 32)"),
    ((8, 16, 32), (32, 16, 8), "jnp.moveaxis(x.reshape(8, 16, 4, 8), 2, 1).reshape(32, 16, 8)"),
    ((8, 3, 6, 6), (8, 6, 6, 3), "jnp.moveaxis(x, 1, 3)"),
    ((8, 6, 6, 3), (8, 3, 6, 6), "jnp.moveaxis(x, 3, 1)"),
    ((12, 8, 5), (8, 12, 5), "jnp.moveaxis(x, 1, 0)"),
]
IN_ORDER: list[tuple[Shape, Shape]] = [
    ((8, 6, 6, 3), (8, 108)),  # flattened
    ((8, 108), (8, 6, 6, 3)),
    ((8, 16, 32), (8, 16, 4, 8)),  # heads, before a transpose
    ((8, 6, 6, 3), (8, 3, 2, 3, 2, 3)),  # patches, before a transpose
    ((8, 6, 6, 32), (8, 6, 6, 4, 8)),  # groups of a normalization
    ((8, 16, 32), (128, 32)),
    ((8, 16, 32), (8, 8, 64)),  # pairs of frames, as many as examples
    ((8, 64, 80), (8, 32, 160)),
    ((8, 16, 32), (2, 4, 16, 32)),  # micro-batches
    ((8, 1, 5), (8, 5, 1)),
    ((1, 5), (5, 1)),
    ((16, 16, 16), (256, 16)),
]


def equation(before: Shape, after: Shape) -> Any:
    return jax.make_jaxpr(lambda x: jax.lax.reshape(x, after))(np.zeros(before)).jaxpr.eqns[0]


@pytest.mark.parametrize(("before", "after", "how"), EXCHANGED)
def test_a_reshape_for_a_transpose_is_told_with_what_was_meant(before: Shape, after: Shape, how: str) -> None:
    eqn = equation(before, after)
    exchange = exchange_of(eqn)
    assert exchange is not None
    assert written(eqn, exchange) == how
    x = jnp.arange(math.prod(before)).reshape(before)
    meant = eval(how, {"x": x, "jnp": jnp})
    np.testing.assert_array_equal(exchange(x, after), meant)
    assert meant.shape == after


@pytest.mark.parametrize(("before", "after", "how"), EXCHANGED)
def test_the_places_that_a_place_of_the_result_holds_are_counted(
    before: Shape, after: Shape, how: str
) -> None:
    eqn = equation(before, after)
    exchange = exchange_of(eqn)
    assert exchange is not None
    places, mixed = mixing(eqn, exchange)
    (i, j), length = exchange.block, exchange.length
    marks = np.arange(places).reshape(-1, *([1] * (len(before) - i - length)))
    marks = np.broadcast_to(marks, (*before[:i], places, *before[i + length :]))
    held = np.moveaxis(marks.reshape(*after[:j], places, -1), j, 0).reshape(places, -1)
    assert mixed == max(len(set(each)) for each in held.tolist())


@pytest.mark.parametrize(("before", "after"), IN_ORDER)
def test_axes_that_are_split_and_merged_in_order_are_none(before: Shape, after: Shape) -> None:
    assert exchange_of(equation(before, after)) is None


B, T, D = 4, 6, 8
W = {"w": np.ones((D, D), np.float32)}


def found(loss: Callable[[Any, Any], Any], batch: Any) -> list[Suspect]:
    return suspects(Tracer(Problem(loss, W, batch)).trace(batch), batch)


def heads(p: Any, x: Any) -> Any:
    return ((x @ p["w"]).reshape(*x.shape[:-2], 2, T, D // 2) ** 2).mean()


def scanned(p: Any, x: Any) -> Any:
    return jax.lax.scan(lambda c, row: (c + heads(p, row), None), 0.0, x)[0]


X = np.ones((B, T, D), np.float32)
FORMS: dict[str, Callable[[Any, Any], Any]] = {
    "plain": heads,
    "jit": jax.jit(heads),
    "remat": jax.checkpoint(heads),
    "vmap": lambda p, x: jax.vmap(lambda row: heads(p, row))(x).mean(),
    "scan": scanned,
    "grad inside": lambda p, x: heads(p, x) + 1e-3 * jax.grad(heads, 1)(p, x).sum(),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_found_at_any_depth(form: str) -> None:
    seen = found(FORMS[form], X)
    assert {each.exchange.before[-3:] for each in seen} == {(T, 2, D // 2)}
    assert all(each.site is not None for each in seen)


def shifted(p: Any, x: Any) -> Any:
    """Relative positions: rows that are shifted against each other by a reshape of padded ones."""
    scores = jnp.pad(x @ p["w"], ((0, 0), (0, 0), (1, 0)))
    return (scores.reshape(B, D + 1, T)[:, 1:].reshape(B, T, D) ** 2).mean()


def of_weights(p: Any, x: Any) -> Any:
    return (x @ p["w"].reshape(2, D, D // 2).sum(0)).mean()


def transposed(p: Any, x: Any) -> Any:
    return ((x @ p["w"]).reshape(B, T, 2, D // 2).swapaxes(1, 2) ** 2).mean()


@pytest.mark.parametrize("loss", [shifted, of_weights, transposed])
def test_a_shift_of_padded_rows_weights_and_a_transpose_are_none(loss: Any) -> None:
    assert found(loss, X) == []


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return (nn.Dense(D)(x).reshape(B, 2, T, D // 2) ** 2).mean()


class Nnx(nnx.Module):
    def __init__(self) -> None:
        self.dense = nnx.Linear(D, D, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        return (self.dense(x).reshape(B, 2, T, D // 2) ** 2).mean()


def linen() -> tuple[Any, Any]:
    model = Linen()
    return lambda p, x: model.apply(p, x), model.init(jax.random.key(0), X)


def flax_nnx() -> tuple[Any, Any]:
    return lambda model, x: model(x), Nnx()


def equinox() -> tuple[Any, Any]:
    def loss(model: Any, x: Any) -> Any:
        return (jax.vmap(jax.vmap(model))(x).reshape(B, 2, T, D // 2) ** 2).mean()

    return loss, eqx.nn.Linear(D, D, key=jax.random.key(0))


def haiku() -> tuple[Any, Any]:
    model = hk.without_apply_rng(
        hk.transform(lambda x: (hk.Linear(D)(x).reshape(B, 2, T, D // 2) ** 2).mean())
    )
    return model.apply, model.init(jax.random.key(0), X)


@pytest.mark.parametrize("made", [linen, flax_nnx, equinox, haiku])
def test_heads_of_a_framework_are_told_with_the_line_of_the_user(made: Any) -> None:
    report = check_loss(*made(), X, steps=0)
    assert report.flow is not None
    (seen,) = report.flow.structure.reshapes
    assert (seen.shape, seen.result, seen.axis, seen.to) == ((B, T, D), (B, 2, T, D // 2), 1, 2)
    assert seen.source is not None
    assert "reshape(B, 2, T, D // 2)" in seen.source.text
    assert seen.layer
