"""What each attention looks at: the numbers of plain JAX in every nesting; healthy ones that look sick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from gradscope.records import Attention, Report
from gradscope.runs.check import check_loss
from tests.trace.oracle import normal

ROWS, LENGTH, WIDTH, HEADS, LAYERS = 3, 10, 32, 4, 3
X = normal(0, ROWS, LENGTH, WIDTH)
CAUSAL = jnp.tril(jnp.ones((LENGTH, LENGTH), bool))
RULES = {
    "attention-collapse",
    "empty-attention-row",
    "hidden-past",
    "one-key-attention",
    "wrong-attention-axis",
    "zero-gradient",
}
Model = Callable[[Any, Any], Any]


def weights_of(seed: int, *lead: int) -> Any:
    shapes = {name: (WIDTH, HEADS, WIDTH // HEADS) for name in "qkv"} | {"o": (HEADS, WIDTH // HEADS, WIDTH)}
    return {
        name: normal(seed + i, *lead, *shape) / WIDTH**0.5 for i, (name, shape) in enumerate(shapes.items())
    }


STACK = weights_of(1, LAYERS)
UNROLLED = [jax.tree.map(lambda leaf, i=i: leaf[i], STACK) for i in range(LAYERS)]


def scores_of(p: Any, h: Any) -> Any:
    q, k = (jnp.einsum("...td,dhe->...the", h, p[name]) for name in "qk")
    return jnp.einsum("...qhe,...khe->...hqk", q, k) / (WIDTH // HEADS) ** 0.5


def layer(p: Any, h: Any, mask: Any = CAUSAL) -> Any:
    v = jnp.einsum("...td,dhe->...the", h, p["v"])
    weights = jax.nn.softmax(jnp.where(mask, scores_of(p, h), -1e9))
    return h + jnp.einsum("...qhe,hef->...qf", jnp.einsum("...hqk,...khe->...qhe", weights, v), p["o"])


def checked(model: Model, params: Any, x: Any = X) -> Report:
    return check_loss(lambda p, x: jnp.mean(model(p, x) ** 2), params, x, steps=0)


def attentions(model: Model, params: Any, x: Any = X) -> tuple[Attention, ...]:
    report = checked(model, params, x)
    assert report.flow is not None
    assert report.skipped == ()
    return report.flow.attentions


def expected(mask: Any = CAUSAL) -> list[tuple[np.ndarray, float]]:
    """By layer: the mean relative entropy of each head, and the largest score that is not hidden."""
    h, found = X, []
    for p in UNROLLED:
        scores = scores_of(p, h)
        weights = np.asarray(jax.nn.softmax(jnp.where(mask, scores, -1e9)), np.float64)[:, :, 1:]
        entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(-1) / np.log(np.arange(2, LENGTH + 1))
        found.append((entropy.mean((0, 2)), float(jnp.abs(jnp.where(mask, scores, 0)).max())))
        h = layer(p, h, mask)
    return found


def scanned(p: Any, x: Any) -> Any:
    return lax.scan(lambda h, row: (layer(row, h), None), x, p["layers"])[0]


def checkpointed(p: Any, x: Any) -> Any:
    return lax.scan(jax.checkpoint(lambda h, row: (layer(row, h), None)), x, p["layers"])[0]


def listed(p: Any, x: Any) -> Any:
    for row in p["layers"]:
        x = jax.checkpoint(jax.jit(layer))(row, x)
    return x


def mapped(p: Any, x: Any) -> Any:
    def one(h: Any) -> Any:
        for row in p["layers"]:
            h = layer(row, h)
        return h

    return jax.vmap(one)(x)


@pytest.mark.parametrize("model", [scanned, checkpointed, listed, mapped])
def test_every_layer_and_head_has_the_numbers_of_plain_jax(model: Model) -> None:
    stacked = model in (scanned, checkpointed)
    found = attentions(model, {"layers": STACK if stacked else UNROLLED})
    assert [each.name for each in found] == [f"layers[{i}]" for i in range(LAYERS)]
    for each, (entropy, largest) in zip(found, expected(), strict=True):
        assert [head.entropy for head in each.heads] == pytest.approx(list(entropy), rel=1e-4)
        assert each.largest_score == pytest.approx(largest, rel=1e-4)
        assert (each.forward, each.backward, each.empty) == (0, ROWS * HEADS * (LENGTH - 1), 0)
        assert (each.keys, each.queries, each.masked) == (LENGTH, LENGTH, True)


def test_of_a_long_sequence_a_part_of_the_rows_is_looked_at() -> None:
    x, mask = normal(5, 2, 512, WIDTH), jnp.tril(jnp.ones((512, 512), bool))
    (found,) = attentions(lambda p, x: layer(p, x, mask), UNROLLED[0], x)
    assert found.rows < 2 * HEADS * 512 / 8
    assert found.backward == found.rows


def test_blocks_that_are_equal_stay_so() -> None:
    """A probe in a nested jaxpr does not make each layer a program of its own."""
    many = [weights_of(10 * i) for i in range(8)]

    def model(p: Any, x: Any) -> Any:
        for row in p["layers"]:
            x = jax.checkpoint(layer)(row, x)
            for _ in range(40):
                x = x + jnp.tanh(x) * 0.01
        return x

    report = checked(model, {"layers": many})
    assert report.flow is not None
    assert len(report.flow.attentions) == 8
    assert report.timing.blocks == 0 or report.timing.distinct_blocks <= 4


def test_attention_of_frameworks_is_seen() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.attention = nnx.MultiHeadAttention(
                HEADS, WIDTH, decode=False, rngs=nnx.Rngs(0), dropout_rate=0.5
            )

        def __call__(self, x: Any) -> Any:
            mask = nnx.make_causal_mask(x[..., 0])
            return self.attention(x, mask=mask, deterministic=False, rngs=nnx.Rngs(1))

    (dropped,) = attentions(lambda model, x: model(x), Net())
    assert (dropped.name, len(dropped.heads), dropped.backward > 0) == ("attention", HEADS, True)
    module = eqx.nn.MultiheadAttention(HEADS, WIDTH, key=jax.random.key(0))
    (of_equinox,) = attentions(lambda model, x: jax.vmap(model)(x, x, x), module)
    assert len(of_equinox.heads) == HEADS

    def grouped(p: Any, x: Any) -> Any:
        q, k, v = (jnp.einsum("btd,dhe->bthe", x, p[name]) for name in "qkv")
        mixed = jax.nn.dot_product_attention(q, k[:, :, :2], v[:, :, :2], is_causal=True)
        return jnp.einsum("bthe,hef->btf", mixed, p["o"])

    (of_jax,) = attentions(grouped, UNROLLED[0])
    assert (len(of_jax.heads), of_jax.backward > 0, of_jax.largest_score is not None) == (HEADS, True, True)


def test_on_a_mesh_heads_are_told_from_the_examples_of_a_device() -> None:
    mesh, x = Mesh(np.array(jax.devices()[:2]), ("data",)), normal(7, HEADS, LENGTH, WIDTH)

    def shared(p: Any, x: Any) -> Any:
        specs = PartitionSpec(), PartitionSpec("data")
        return jax.shard_map(layer, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("data"))(p, x)

    (found,) = attentions(shared, UNROLLED[0], x)
    (alone,) = attentions(layer, UNROLLED[0], x)
    assert [head.entropy for head in found.heads] == pytest.approx([h.entropy for h in alone.heads], rel=1e-4)
    assert found.rows == alone.rows


def test_attention_inside_a_rule_of_its_own_is_listed() -> None:
    @jax.custom_vjp
    def flash(p: Any, x: Any) -> Any:
        return layer(p, x)

    flash.defvjp(lambda p, x: jax.vjp(layer, p, x), lambda back, ct: back(ct))
    report = checked(flash, UNROLLED[0])
    assert report.flow is not None
    assert report.flow.attentions == ()
    assert any(gap.what.startswith("attention at ") for gap in report.skipped)


def test_a_network_without_attention_has_none() -> None:
    assert attentions(lambda p, x: jax.nn.softmax(x @ p["w"]), {"w": normal(3, WIDTH, 4)}) == ()


def told(model: Model, params: Any = UNROLLED[0], x: Any = X) -> list[str]:
    return [finding.rule for finding in checked(model, params, x).findings if finding.rule in RULES]


def over_queries(p: Any, x: Any) -> Any:
    weights = jax.nn.softmax(scores_of(p, x), axis=-2)
    return jnp.einsum("...hqk,...kd->...qhd", weights, x)


def over_examples(p: Any, x: Any) -> Any:
    return jnp.einsum("bhqk,bkd->bqhd", jax.nn.softmax(scores_of(p, x), axis=0), x)


def test_a_single_key_is_told_once() -> None:
    assert told(layer_of_one, x=X[:, :1]) == ["one-key-attention"]
    assert told(lambda p, x: layer(p, x, jnp.eye(LENGTH, dtype=bool))) == ["one-key-attention"]


def layer_of_one(p: Any, x: Any) -> Any:
    return layer(p, x, True)


def test_faults_are_told() -> None:
    assert told(over_examples) == ["wrong-attention-axis"]
    assert told(over_queries) == ["wrong-attention-axis"]
    assert told(lambda p, x: jax.vmap(over_queries, (None, 0))(p, x)) == ["wrong-attention-axis"]
    assert told(lambda p, x: layer(p, 1000 * x)) == ["attention-collapse"]
    assert told(lambda p, x: layer(p, x, ~CAUSAL)) == ["empty-attention-row", "hidden-past"]
    assert told(lambda p, x: layer(p, x, CAUSAL.T)) == ["hidden-past"]
    assert told(lambda p, x: layer(p, x, jnp.tril(CAUSAL, -1))) == ["empty-attention-row"]
    assert told(lambda p, x: lax.scan(lambda h, row: (layer(row, h, CAUSAL.T), None), x, p)[0], STACK) == [
        "hidden-past"
    ]


def slots(p: Any, x: Any) -> Any:
    """They compete for the places, and average what they get."""
    weights = jax.nn.softmax(scores_of(p, x), axis=-2) + 1e-8
    weights = weights / weights.sum(-1, keepdims=True)
    return jnp.einsum("...hqk,...kd->...qhd", weights, x)


def slots_divided_later(p: Any, x: Any) -> Any:
    weights = jax.nn.softmax(scores_of(p, x), axis=-2)
    gathered = jnp.einsum("...hqk,...kd->...hqd", weights, x)
    return gathered / (weights.sum(-1, keepdims=True) + 1e-8)


def capsules(p: Any, x: Any) -> Any:
    votes = jnp.einsum("btd,dhe->bthe", x, p["q"])
    logits = jnp.zeros((ROWS, LENGTH, HEADS))
    for _ in range(3):
        out = jnp.tanh(jnp.einsum("bth,bthe->bhe", jax.nn.softmax(logits), votes))
        logits = logits + jnp.einsum("bthe,bhe->bth", votes, out)
    return out


def linear(p: Any, x: Any) -> Any:
    """Efficient attention: a softmax over the features of queries, and one over the places of keys."""
    q, k, v = (x @ p[name].reshape(WIDTH, -1) for name in "qkv")
    return jax.nn.softmax(q) @ (jax.nn.softmax(k, axis=1).swapaxes(1, 2) @ v)


def sinkhorn(p: Any, x: Any) -> Any:
    weights = jnp.exp(scores_of(p, x))
    for _ in range(3):
        weights = weights / weights.sum(-1, keepdims=True)
        weights = weights / weights.sum(-2, keepdims=True)
    return jnp.einsum("...hqk,...kd->...qhd", weights, x)


def pooled(p: Any, x: Any) -> Any:
    weights = jax.nn.softmax(x @ p["q"][:, 0, 0])
    return jnp.einsum("bt,btd->bd", weights, x @ p["k"][:, 0])


def padded(p: Any, x: Any) -> Any:
    """Fillers are hidden from all, and see nothing themselves."""
    real = jnp.arange(LENGTH) < jnp.array([10, 6, 3])[:, None]
    both = (real[:, :, None] & real[:, None, :])[:, None]
    return layer(p, x, both & CAUSAL) * real[..., None]


def padded_left(p: Any, x: Any) -> Any:
    real = jnp.arange(LENGTH) >= jnp.array([0, 4, 7])[:, None]
    return layer(p, x, real[:, None, None, :] & CAUSAL) * real[..., None]


def masked_twice(p: Any, x: Any) -> Any:
    """A graph in which a node has no neighbours, and gets nothing."""
    edges = jnp.tril(CAUSAL, -1)
    weights = jnp.where(edges, jax.nn.softmax(jnp.where(edges, scores_of(p, x), -1e9)), 0.0)
    return jnp.einsum("...hqk,...kd->...qhd", weights, x)


def window(p: Any, x: Any) -> Any:
    near = jnp.abs(jnp.arange(LENGTH)[:, None] - jnp.arange(LENGTH)) <= 1
    return layer(p, x, near)


def both_ways(p: Any, x: Any) -> Any:
    return layer(p, x, CAUSAL) + layer(p, x, CAUSAL.T)


def crossed(p: Any, x: Any) -> Any:
    scores = scores_of(p, x)[..., :4, :]
    scores = jnp.where(jnp.arange(LENGTH) < jnp.array([10, 0, 3])[:, None, None, None], scores, -1e9)
    return jnp.einsum("...hqk,...kd->...qhd", jax.nn.softmax(scores), x)


def crossed_of_one_length(p: Any, x: Any) -> Any:
    """A decoder and an encoder with fillers of their own, as `nn.make_attention_mask` masks them."""
    asked, seen = (jnp.arange(LENGTH) < jnp.array(n)[:, None] for n in ([10, 4, 3], [5, 8, 3]))
    mask = asked[:, None, :, None] & seen[:, None, None, :]
    return layer(p, x, mask) * asked[..., None]


def sharp_content(p: Any, x: Any) -> Any:
    """Some heads look at one key, as in a trained model."""
    scores = scores_of(p, x) * jnp.array([300.0, 300.0, 300.0, 1.0])[:, None, None]
    return jnp.einsum("...hqk,...kd->...qhd", jax.nn.softmax(scores), x)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "model",
    [
        masked_twice,
        slots,
        slots_divided_later,
        crossed_of_one_length,
        capsules,
        linear,
        sinkhorn,
        pooled,
        padded,
        padded_left,
        window,
        both_ways,
        crossed,
        sharp_content,
    ],
)
def test_healthy_ones_that_look_alike_are_quiet(model: Model) -> None:
    assert told(model) == []


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_verdict_does_not_move_with_the_dtype(dtype: Any) -> None:
    params, x = jax.tree.map(lambda leaf: leaf.astype(dtype), (UNROLLED[0], X))
    mask = lambda p, x: layer(p, x, CAUSAL).astype(jnp.float32)  # noqa: E731
    assert told(mask, params, x) == []
    report = checked(mask, params, x)
    assert report.flow is not None
    assert len(report.flow.attentions[0].heads) == HEADS
    assert told(lambda p, x: over_queries(p, x).astype(jnp.float32), params, x) == ["wrong-attention-axis"]
