"""Attention whose scores are not scaled: recognized however it is written, and quiet where it is scaled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax

from gradscope.records import Finding, Severity
from gradscope.runs.check import check_loss
from tests.trace.oracle import normal

ROWS, LENGTH, WIDTH, HEADS = 4, 12, 64, 2
HEAD = WIDTH // HEADS
X = normal(0, ROWS, LENGTH, WIDTH)
PARAMS = {name: normal(i, WIDTH, WIDTH) / WIDTH**0.5 for i, name in enumerate("qkvo", 1)}
CAUSAL = jnp.tril(jnp.ones((LENGTH, LENGTH), bool))
Attention = Callable[[Any, Any], Any]


def heads(x: Any) -> Any:
    return x.reshape(*x.shape[:2], HEADS, HEAD).swapaxes(1, 2)


def of(p: Any, x: Any) -> tuple[Any, Any, Any]:
    q, k, v = (heads(x @ p[name]) for name in "qkv")
    return q, k, v


def joined(p: Any, mixed: Any) -> Any:
    return mixed.swapaxes(1, 2).reshape(ROWS, LENGTH, WIDTH) @ p["o"]


def found(attention: Attention, params: Any = PARAMS, scale: float = 4.0) -> list[Finding]:
    report = check_loss(lambda p, x: jnp.mean(attention(p, scale * x) ** 2), params, X, steps=0)
    return [finding for finding in report.findings if finding.rule == "unscaled-attention"]


def plain(p: Any, x: Any) -> Any:
    q, k, v = of(p, x)
    return joined(p, jax.nn.softmax(q @ k.swapaxes(-1, -2)) @ v)


def masked(p: Any, x: Any) -> Any:
    q, k, v = of(p, x)
    scores = jnp.where(CAUSAL, jnp.einsum("bhqd,bhkd->bhqk", q, k), -1e9)
    return joined(p, jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, axis=-1), v))


def written_out(p: Any, x: Any) -> Any:
    q, k, v = of(p, x)
    scores = q @ k.swapaxes(-1, -2) + jnp.where(CAUSAL, 0.0, -1e9)
    powers = jnp.exp(scores - scores.max(-1, keepdims=True))
    return joined(p, powers / powers.sum(-1, keepdims=True) @ v)


def multiplied(p: Any, x: Any) -> Any:
    q, k, v = of(p, x)
    return joined(p, jax.nn.softmax(q @ k.swapaxes(-1, -2) * jnp.sqrt(HEAD)) @ v)


def by_row(p: Any, x: Any) -> Any:
    def one(row: Any) -> Any:
        q, k, v = (row @ p[name] for name in "qkv")
        return jax.nn.softmax(q @ k.T) @ v @ p["o"]

    return jax.vmap(one)(x)


def looped(p: Any, x: Any) -> Any:
    return lax.scan(lambda h, _: (plain(p, h), None), x, None, length=1)[0]


@pytest.mark.parametrize(
    "attention",
    [plain, masked, written_out, multiplied, by_row, looped, jax.jit(plain), jax.checkpoint(masked)],
)
def test_scores_that_nothing_divides_are_told(attention: Attention) -> None:
    (finding,) = found(attention)
    assert finding.severity is Severity.WARNING
    width, factor = (WIDTH if attention is by_row else HEAD), (HEAD**0.5 if attention is multiplied else 1.0)
    assert finding.evidence["width"] == width
    assert finding.evidence["factor"] == pytest.approx(factor)
    assert finding.source is not None


def test_the_share_is_that_of_plain_jax() -> None:
    (finding,) = found(masked)
    q, k, _ = of(PARAMS, 4.0 * X)
    weights = jax.nn.softmax(jnp.where(CAUSAL, q @ k.swapaxes(-1, -2), -1e9))[..., 1:, :]
    assert finding.evidence["sharp"] == pytest.approx(float(jnp.mean(weights.max(-1) > 0.95)))


def scaled(how: Callable[[Any, Any], Any]) -> Attention:
    def attention(p: Any, x: Any) -> Any:
        q, k, v = of(p, x)
        return joined(p, jax.nn.softmax(how(q, k)) @ v)

    return attention


def normed(x: Any) -> Any:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "how",
    [
        lambda q, k: q @ k.swapaxes(-1, -2) / jnp.sqrt(HEAD),
        lambda q, k: q @ k.swapaxes(-1, -2) * HEAD**-0.5,
        lambda q, k: (q / jnp.sqrt(q.shape[-1])) @ k.swapaxes(-1, -2),
        lambda q, k: (q * HEAD**-0.25) @ (k * HEAD**-0.25).swapaxes(-1, -2),
        lambda q, k: q @ k.swapaxes(-1, -2) * lax.rsqrt(float(HEAD)),
        lambda q, k: 10 * normed(q) @ normed(k).swapaxes(-1, -2),
    ],
)
def test_scaled_scores_are_quiet_however_sharp(how: Callable[[Any, Any], Any]) -> None:
    assert found(scaled(how), scale=10.0) == []


def test_a_learned_temperature_is_not_judged() -> None:
    params = PARAMS | {"temperature": jnp.ones(())}

    def attention(p: Any, x: Any) -> Any:
        q, k, v = of(p, x)
        return joined(p, jax.nn.softmax(q @ k.swapaxes(-1, -2) * p["temperature"]) @ v)

    assert found(attention, params) == []


def test_weights_that_are_small_enough_need_no_factor() -> None:
    """As in T5, whose initialization has the factor in the weights of the queries."""
    assert found(plain, PARAMS | {"q": PARAMS["q"] / 8}, scale=1.0) == []


def test_class_scores_and_similarities_are_no_attention() -> None:
    def contrastive(p: Any, x: Any) -> Any:
        a, b = x.mean(1) @ p["q"], x.mean(1) @ p["k"]
        return -jnp.diagonal(jax.nn.log_softmax(20 * a @ b.T)) + jax.nn.softmax(20 * a @ b.T).max()

    assert found(contrastive) == []


def test_the_attention_of_frameworks_is_scaled() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.attention = nnx.MultiHeadAttention(
                HEADS, WIDTH, decode=False, rngs=nnx.Rngs(0), qkv_features=WIDTH
            )

        def __call__(self, x: Any) -> Any:
            return self.attention(x)

    report = check_loss(lambda model, x: jnp.mean(model(10 * x) ** 2), Net(), X, steps=0)
    assert [f.rule for f in report.findings if f.rule == "unscaled-attention"] == []

    def built_in(p: Any, x: Any) -> Any:
        q, k, v = (each.swapaxes(1, 2) for each in of(p, x))
        return joined(p, jax.nn.dot_product_attention(q, k, v).swapaxes(1, 2))

    assert found(built_in, scale=10.0) == []
