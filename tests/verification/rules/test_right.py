"""Right rules as people write them for speed and memory: every one is right, in every precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gradscope.records import RuleCheck
from tests.verification.rules.made import RIGHT, WRONG, check, normal, rules_of, with_vjp


def layer_norm(x: Any, scale: Any, bias: Any) -> Any:
    mean = jnp.mean(x, -1, keepdims=True)
    return (x - mean) * lax.rsqrt(jnp.var(x, -1, keepdims=True) + 1e-5) * scale + bias


def layer_norm_backward(r: Any, g: Any) -> Any:
    x, scale, _ = r
    mean, inverse = jnp.mean(x, -1, keepdims=True), lax.rsqrt(jnp.var(x, -1, keepdims=True) + 1e-5)
    y, h = (x - mean) * inverse, g * scale
    dx = (h - jnp.mean(h, -1, keepdims=True) - y * jnp.mean(h * y, -1, keepdims=True)) * inverse
    return dx, jnp.sum(g * y, 0), jnp.sum(g, 0)


def attention(q: Any, k: Any, v: Any) -> Any:
    return jax.nn.softmax(q @ k.T / q.shape[-1] ** 0.5) @ v


def attention_backward(r: Any, g: Any) -> Any:
    """Recomputes the weights, and takes their sum from the output as flash attention does."""
    q, k, v = r
    scale = q.shape[-1] ** -0.5
    p = jax.nn.softmax(q @ k.T * scale)
    ds = p * (g @ v.T - jnp.sum(g * (p @ v), -1, keepdims=True))
    return ds @ k * scale, ds.T @ q * scale, p.T @ g


def head_loss(h: Any, w: Any) -> Any:
    """Cross-entropy over a vocabulary in pieces, so that the logits are never held at once."""
    logits = h @ w
    top = jnp.max(logits, -1)
    total = lax.fori_loop(
        0,
        4,
        lambda i, s: s + jnp.sum(jnp.exp(lax.dynamic_slice_in_dim(logits, i * 3, 3, 1) - top[:, None]), 1),
        top * 0,
    )
    return jnp.mean(jnp.log(total) + top - logits[:, 1])


def head_loss_backward(r: Any, g: Any) -> Any:
    h, w = r
    d = (
        (jax.nn.softmax(h @ w) - jax.nn.one_hot(jnp.ones(len(h), int), w.shape[1], dtype=h.dtype))
        * g
        / len(h)
    )
    return d @ w.T, h.T @ d


def recurrence(a: Any, x: Any) -> Any:
    return lax.scan(lambda h, t: (t[0] * h + t[1], t[0] * h + t[1]), x[0] * 0, (a, x))[1]


def recurrence_backward(r: Any, g: Any) -> Any:
    """A linear recurrence is its own backward pass, run from the end."""
    a, x = r
    h = recurrence(a, x)
    later = jnp.concatenate([a[1:], a[:1] * 0])
    d = recurrence(later[::-1], g[::-1])[::-1]
    before = jnp.concatenate([h[:1] * 0, h[:-1]])
    return d * before, d


def in_bfloat16(x: Any, w: Any) -> Any:
    low = x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)
    return jnp.tanh(low.astype(jnp.float32))


def in_bfloat16_backward(r: Any, g: Any) -> Any:
    x, w = (v.astype(jnp.bfloat16) for v in r)
    d = (g * (1 - in_bfloat16(*r) ** 2)).astype(jnp.bfloat16)
    return (d @ w.T).astype(jnp.float32), (x.T @ d).astype(jnp.float32)


RULES: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
    "layer norm": (layer_norm, layer_norm_backward, (normal(6, 16), normal(16, seed=1), normal(16, seed=2))),
    "layer norm of large values": (
        layer_norm,
        layer_norm_backward,
        (20 + normal(6, 16), normal(16, seed=1), normal(16, seed=2)),
    ),
    "attention": (attention, attention_backward, (normal(7, 8), normal(9, 8, seed=1), normal(9, 8, seed=2))),
    "peaked attention": (
        attention,
        attention_backward,
        (20 * normal(7, 8), normal(9, 8, seed=1), normal(9, 8)),
    ),
    "head with loss": (head_loss, head_loss_backward, (normal(6, 8), normal(8, 12, seed=1))),
    "recurrence": (recurrence, recurrence_backward, (jnp.tanh(normal(12, 4)), normal(12, 4, seed=1))),
    "mixed precision": (in_bfloat16, in_bfloat16_backward, (normal(20, 32), normal(32, 16, seed=1))),
    "relu": (lambda x: jnp.maximum(x, 0), lambda r, g: (g * (r[0] > 0),), (normal(64),)),
    "hardtanh": (lambda x: jnp.clip(x, -1, 1), lambda r, g: (g * (jnp.abs(r[0]) < 1),), (2 * normal(64),)),
    "largest": (
        lambda x: jnp.max(x, 1),
        lambda r, g: (g[:, None] * (r[0] == jnp.max(r[0], 1)[:, None]),),
        (normal(5, 9),),
    ),
    "absolute": (jnp.abs, lambda r, g: (g * jnp.sign(r[0]),), (normal(40),)),
    "embedding": (
        lambda w: w[jnp.array([1, 1, 3])],
        lambda r, g: (jnp.zeros_like(r[0]).at[jnp.array([1, 1, 3])].add(g),),
        (normal(5, 3),),
    ),
    "sorted": (
        lambda x: jnp.sort(x),
        lambda r, g: (jnp.zeros_like(r[0]).at[jnp.argsort(r[0])].set(g),),
        (normal(30),),
    ),
}


LOW = ("layer norm", "attention", "recurrence", "relu")


@pytest.mark.few(8)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float32") for name in RULES] + [(name, low) for name in LOW for low in ("bfloat16", "float16")],
)
def test_a_right_rule_is_right(name: str, dtype: str) -> None:
    function, backward, args = RULES[name]

    def cast(r: Any, g: Any) -> Any:
        return tuple(jnp.asarray(d, a.dtype) for d, a in zip(backward(r, g), r, strict=True))

    found = check(with_vjp(function, cast), *(jnp.asarray(arg, dtype) for arg in args))
    assert [(c.argument, c.reason) for c in found if c.verdict is not RIGHT] == []
    assert len(found) == len(args)


@pytest.mark.few(1)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("size", [1e-4, 1.0])
def test_neither_seed_nor_size_makes_it_wrong(size: float, seed: int) -> None:
    found = attended(size, seed, "float32")
    assert [c.reason for c in found if c.verdict is not RIGHT] == []


@pytest.mark.few(2)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("size", [10.0, 30.0])
def test_what_rounding_leaves_of_a_saturated_softmax_is_not_wrong(size: float, dtype: str) -> None:
    """All the weight is at one key: the derivative is next to nothing, and the rule gives noise."""
    assert WRONG not in [c.verdict for c in attended(size, 1, dtype)]


def attended(size: float, seed: int, dtype: str) -> list[RuleCheck]:
    ruled = with_vjp(attention, attention_backward)
    args = [jnp.asarray(size * normal(6, 8, seed=3 * seed + i), dtype) for i in range(3)]
    return rules_of(lambda p: jnp.sum(ruled(*p)), args, seed=seed)
