"""Does a model with attention know the order of its places? And its masks turned over."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.measure.mirrored import mirrored_masks
from gradscope.records import OrderBlind
from gradscope.runs.check import check_loss
from gradscope.trace.domains.attention import find_attentions
from gradscope.trace.jaxprs.rewriting import with_functions
from gradscope.trace.program import Tracer

B, T, D, V = 4, 6, 8, 5
RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


PARAMS = {name: normal(D, D) / 3 for name in "qkv"} | {
    "table": normal(V, D),
    "places": normal(T, D),
    "up": normal(3, D),
    "out": normal(D, V),
}
BATCH = {
    "tokens": RNG.integers(0, V, (B, T)),
    "rows": normal(B, T, 3),
    "mask": np.arange(T) < np.array([6, 5, 4, 6])[:, None],
    "tags": RNG.integers(0, V, (B, T)),
    "label": RNG.integers(0, V, B),
}


def attend(p: Any, x: Any, mask: Any = None, bias: Any = 0.0) -> Any:
    scores = (x @ p["q"]) @ (x @ p["k"]).swapaxes(-1, -2) / D**0.5 + bias
    if mask is not None:
        scores = jnp.where(mask, scores, -1e9)
    return x + jax.nn.softmax(scores) @ (x @ p["v"])


def entropy(p: Any, h: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(h @ p["out"], labels).mean()


def pooled(p: Any, b: Any, x: Any, **options: Any) -> Any:
    return entropy(p, attend(p, x, **options).mean(1), b["label"])


def embedded(p: Any, b: Any) -> Any:
    return p["table"][b["tokens"]]


def blind(loss: Any, params: Any = PARAMS) -> OrderBlind | None:
    report = check_loss(loss, params, BATCH, steps=0)
    assert not [each for each in report.skipped if "itself" in each.reason]
    assert report.flow is not None
    return report.flow.structure.order_blind


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, tokens: Any) -> Any:
        x = nn.Embed(V, D)(tokens)
        x = x + nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(x))
        return nn.Dense(V)(x.mean(1))


class Sequential(eqx.Module):
    embed: eqx.nn.Embedding
    attention: eqx.nn.MultiheadAttention
    out: eqx.nn.Linear

    def __init__(self, key: Any) -> None:
        self.embed = eqx.nn.Embedding(V, D, key=key)
        self.attention = eqx.nn.MultiheadAttention(2, D, key=key)
        self.out = eqx.nn.Linear(D, V, key=key)

    def __call__(self, tokens: Any) -> Any:
        x = jax.vmap(self.embed)(tokens)
        return self.out(self.attention(x, x, x).mean(0))


def linen() -> tuple[Any, Any]:
    model = Encoder()

    def loss(p: Any, b: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model.apply(p, b["tokens"]), b["label"]).mean()

    return loss, model.init(jax.random.key(0), BATCH["tokens"])


def equinox() -> tuple[Any, Any]:
    def loss(model: Any, b: Any) -> Any:
        logits = jax.vmap(model)(b["tokens"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, b["label"]).mean()

    return loss, Sequential(jax.random.key(0))


BLIND: dict[str, Any] = {
    "pooled": lambda p, b: pooled(p, b, embedded(p, b)),
    "a tag for each": lambda p, b: entropy(p, attend(p, embedded(p, b)), b["tags"]),
    "padded": lambda p, b: pooled(p, b, embedded(p, b), mask=b["mask"][:, None, :]),
    "rows of numbers": lambda p, b: pooled(p, b, b["rows"] @ p["up"]),
    "scaled": lambda p, b: 1e6 * pooled(p, b, embedded(p, b)),
}
BIAS = -np.abs(np.arange(T)[:, None] - np.arange(T)).astype(np.float32)
CAUSAL = np.tril(np.ones((T, T), bool))
SEEING: dict[str, Any] = {
    "embedded places": lambda p, b: pooled(p, b, embedded(p, b) + p["places"]),
    "a bias of the scores": lambda p, b: pooled(p, b, embedded(p, b), bias=BIAS),
    "a causal mask": lambda p, b: pooled(p, b, embedded(p, b), mask=CAUSAL),
    "the last place": lambda p, b: entropy(p, attend(p, embedded(p, b))[:, -1], b["label"]),
    "no attention": lambda p, b: entropy(p, jnp.tanh(embedded(p, b)).mean(1), b["label"]),
    "between examples": lambda p, b: entropy(p, attend(p, embedded(p, b)[:, 0]), b["label"]),
}


@pytest.mark.parametrize("name", BLIND)
def test_a_set_of_places_is_told(name: str) -> None:
    found = blind(BLIND[name])
    assert found is not None
    assert found.places == T
    np.testing.assert_allclose(found.other, found.loss, rtol=1e-5)


@pytest.mark.parametrize("made", [linen, equinox])
def test_a_set_of_places_is_told_of_frameworks(made: Any) -> None:
    found = blind(*made())
    assert found is not None
    assert found.source is not None
    assert "mbed)" in found.source.text or "Embed(" in found.source.text


@pytest.mark.parametrize("name", SEEING)
def test_a_model_that_knows_its_places_is_not(name: str) -> None:
    assert blind(SEEING[name]) is None


FUTURE = np.triu(np.ones((T, T), bool))
MASKED: dict[str, Any] = {
    "chosen": lambda p, b, mask: pooled(p, b, embedded(p, b), mask=mask),
    "for each example": lambda p, b, mask: pooled(
        p, b, embedded(p, b), mask=jnp.broadcast_to(jnp.asarray(mask), (B, T, T))
    ),
    "added": lambda p, b, mask: pooled(p, b, embedded(p, b), bias=jnp.where(mask, 0.0, -1e9)),
    "jit": jax.jit(lambda p, b, mask: pooled(p, b, embedded(p, b), mask=mask)),
}


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_is_turned_over(name: str) -> None:
    masked = MASKED[name]
    tracer = Tracer(Problem(lambda p, b: masked(p, b, FUTURE), PARAMS, BATCH))
    program, inputs = tracer.trace(BATCH), tracer.inputs(BATCH)
    functions = mirrored_masks(find_attentions(program, BATCH))
    body = with_functions(program.body, functions)
    turned = jax.core.eval_jaxpr(body.jaxpr, body.consts, *inputs.weights, *inputs.others)[0]
    np.testing.assert_allclose(turned, masked(PARAMS, BATCH, FUTURE.T), rtol=1e-6)


def test_a_learned_bias_is_no_mask() -> None:
    params = {**PARAMS, "bias": normal(T, T)}
    tracer = Tracer(Problem(lambda p, b: pooled(p, b, embedded(p, b), bias=p["bias"]), params, BATCH))
    assert mirrored_masks(find_attentions(tracer.trace(BATCH), BATCH)) == {}
