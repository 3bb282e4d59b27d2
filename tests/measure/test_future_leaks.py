"""Models that see what they have to predict, and healthy ones that look like them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.leaks.future import future_leaks
from gradscope.measure.leaks.trial import Trials
from gradscope.records import FutureLeak
from gradscope.trace.program import Tracer

B, L, V, D = 6, 12, 23, 8
RNG = np.random.default_rng(3)
TOKENS = RNG.integers(1, V, (B, L + 1)).astype(np.int32)
SERIES = np.cumsum(RNG.normal(size=(B, L + 1, 3)), axis=1).astype(np.float32)
BATCH = {"tokens": TOKENS}
PAIR = {"x": TOKENS[:, :-1], "y": TOKENS[:, 1:]}


def weight(*shape: int) -> Any:
    return (RNG.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)


PARAMS = {
    "embed": weight(V, D),
    "other": weight(V, D),
    "series": weight(3, D),
    "q": weight(D, D),
    "k": weight(D, D),
    "v": weight(D, D),
    "o": weight(D, D),
    "conv": weight(3, D, D),
    "head": weight(D, V),
    "out": weight(D, 3),
    "classes": weight(D, 4),
}


def leaks(loss: Any, batch: Any = BATCH, params: Any = PARAMS) -> list[FutureLeak]:
    tracer = Tracer(Problem(loss, params, batch))
    return list(future_leaks(Trials(tracer.trace(batch), batch, tracer.inputs(batch))))


def attention(p: Any, h: Any, mask: Any = None, low: Any = -1e9) -> Any:
    q, k, v = h @ p["q"], h @ p["k"], h @ p["v"]
    scores = q @ k.swapaxes(-1, -2) / D**0.5
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.asarray(low, scores.dtype))
    return h + jax.nn.softmax(scores) @ v @ p["o"]


def causal(length: int, ahead: int = 0) -> Any:
    return jnp.tril(jnp.ones((length, length), bool), ahead)


def masked(p: Any, h: Any, ahead: int = 0) -> Any:
    return attention(p, h, causal(h.shape[-2], ahead))


def entropy(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def language_model(mix: Any) -> Any:
    def loss(p: Any, b: Any) -> Any:
        t = b["tokens"]
        return entropy(mix(p, p["embed"][t[:, :-1]]) @ p["head"], t[:, 1:])

    return loss


def forward_rnn(p: Any, h: Any, *, reverse: bool = False) -> Any:
    def step(state: Any, x: Any) -> Any:
        state = jnp.tanh(x @ p["q"] + state @ p["k"])
        return state, state

    rows = lax.scan(step, jnp.zeros((len(h), D), h.dtype), h.swapaxes(0, 1), reverse=reverse)[1]
    return rows.swapaxes(0, 1)


def both_ways(p: Any, h: Any) -> Any:
    return forward_rnn(p, h) + forward_rnn(p, h, reverse=True)


def convolved(p: Any, h: Any, pad: Any = "SAME") -> Any:
    return jax.nn.relu(
        lax.conv_general_dilated(h, p["conv"], (1,), pad, dimension_numbers=("NWC", "WIO", "NWC"))
    )


def standardized(p: Any, h: Any) -> Any:
    h = jnp.tanh(h @ p["q"])
    return (h - h.mean(1, keepdims=True)) / (h.std(1, keepdims=True) + 1e-5)


def separate(p: Any, b: Any) -> Any:
    return entropy(attention(p, p["embed"][b["x"]]) @ p["head"], b["y"])


def one_hot(p: Any, b: Any) -> Any:
    t = b["tokens"]
    logits = attention(p, jax.nn.one_hot(t[:, :-1], V) @ p["embed"]) @ p["head"]
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * jax.nn.one_hot(t[:, 1:], V), -1))


def flattened(p: Any, b: Any) -> Any:
    t = b["tokens"]
    logits = attention(p, p["embed"][t[:, :-1]]) @ p["head"]
    return -jnp.mean(jax.nn.log_softmax(logits.reshape(-1, V))[jnp.arange(B * L), t[:, 1:].reshape(-1)])


def rolled(p: Any, b: Any) -> Any:
    t = b["tokens"]
    return entropy((attention(p, p["embed"][t]) @ p["head"])[:, :-1], jnp.roll(t, -1, 1)[:, :-1])


def shift_right(ahead: int) -> Any:
    def loss(p: Any, b: Any) -> Any:
        t = b["tokens"]
        h = p["embed"][jnp.pad(t, ((0, 0), (1, 0)))[:, :-1]]
        return entropy(masked(p, h, ahead) @ p["head"], t)

    return loss


def regression(mix: Any) -> Any:
    def loss(p: Any, b: Any) -> Any:
        x = b["series"]
        return jnp.mean((x[:, :-1] + mix(p, x[:, :-1] @ p["series"]) @ p["out"] - x[:, 1:]) ** 2)

    return loss


def per_example(p: Any, b: Any) -> Any:
    @jax.checkpoint
    def one(t: Any) -> Any:
        return entropy(jax.jit(attention)(p, p["embed"][t[:-1]]) @ p["head"], t[1:])

    return jax.vmap(one)(b["tokens"]).mean()


def time_major(p: Any, b: Any) -> Any:
    t = b["tokens"].T
    h = both_ways(p, p["embed"][t[:-1]].swapaxes(0, 1)).swapaxes(0, 1)
    return entropy(h @ p["head"], t[1:])


def labels_shifted_inside(p: Any, b: Any) -> Any:
    logits = attention(p, p["embed"][b["input_ids"]]) @ p["head"]
    losses = optax.softmax_cross_entropy_with_integer_labels(
        logits[:, :-1], jnp.maximum(b["labels"][:, 1:], 0)
    )
    return jnp.sum(losses * (b["labels"][:, 1:] >= 0)) / jnp.sum(b["labels"][:, 1:] >= 0)


def single(mix: Any) -> Any:
    """One sequence, without an axis for others."""

    def loss(p: Any, b: Any) -> Any:
        return entropy(mix(p, p["embed"][b["text"][:-1]]) @ p["head"], b["text"][1:])

    return loss


def half(dtype: Any, mask: Any, low: float = -1e9) -> Any:
    def loss(p: Any, b: Any) -> Any:
        t, p = b["tokens"], jax.tree.map(lambda w: w.astype(dtype), p)
        h = attention(p, p["embed"][t[:, :-1]], mask, low)
        return entropy((h @ p["head"]).astype(jnp.float32), t[:, 1:])

    return loss


IDS = {"input_ids": TOKENS, "labels": np.where(np.arange(L + 1) < 3, -100, TOKENS)}
SICK = {
    "no mask": (language_model(attention), BATCH),
    "off by one": (language_model(lambda p, h: masked(p, h, 1)), BATCH),
    "two arrays": (separate, PAIR),
    "one-hot": (one_hot, BATCH),
    "flattened": (flattened, BATCH),
    "rolled": (rolled, BATCH),
    "shifted right, and off by one": (shift_right(1), BATCH),
    "both ways": (language_model(both_ways), BATCH),
    "same padding": (language_model(convolved), BATCH),
    "normalized over time": (language_model(standardized), BATCH),
    "mean over time": (language_model(lambda p, h: h + h.mean(1, keepdims=True)), BATCH),
    "series": (regression(attention), {"series": SERIES}),
    "series, both ways": (regression(both_ways), {"series": SERIES}),
    "vmap, jit and checkpoint": (per_example, BATCH),
    "time first": (time_major, BATCH),
    "labels shifted inside": (labels_shifted_inside, IDS),
    "a batch of one": (language_model(attention), {"tokens": TOKENS[:1]}),
    "a single sequence": (single(attention), {"text": TOKENS[0]}),
    "bfloat16": (half(jnp.bfloat16, None), BATCH),
    "a weak mask": (language_model(lambda p, h: attention(p, h, causal(L), -2.0)), BATCH),
}  # fmt: skip


def one_embedding(p: Any, b: Any) -> Any:
    """A sequence autoencoder: the last state of an encoder begins a causal decoder of the same embeddings."""
    h = p["embed"][b["tokens"]]

    def step(state: Any, x: Any) -> Any:
        state = jnp.tanh(x @ p["q"] + state @ p["k"])
        return state, state

    code, _ = lax.scan(step, jnp.zeros((len(h), D)), h.swapaxes(0, 1))
    _, rows = lax.scan(step, code, h[:, :-1].swapaxes(0, 1))
    return entropy(rows.swapaxes(0, 1) @ p["head"], b["tokens"][:, 1:])


def test_a_code_of_the_whole_sequence_is_told_apart() -> None:
    (found,) = leaks(one_embedding)
    assert found.encoded
    (other,) = leaks(language_model(both_ways))
    assert not other.encoded


@pytest.mark.few(6)
@pytest.mark.parametrize("name", SICK)
def test_an_output_that_depends_on_later_inputs_is_found(name: str) -> None:
    loss, batch = SICK[name]
    (found,) = leaks(loss, batch)
    assert found.target
    assert found.first == found.position + 1
    assert 0 < found.change <= found.largest


def masked_language_model(p: Any, b: Any) -> Any:
    t = b["tokens"]
    hidden = (jnp.arange(L + 1) % 4 == 0) & (t > 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(
        attention(p, p["embed"][jnp.where(hidden, 0, t)]) @ p["head"], t
    )
    return jnp.sum(losses * hidden) / jnp.sum(hidden)


def without_class_token(p: Any, b: Any) -> Any:
    t = b["tokens"]
    return entropy((attention(p, p["embed"][t]) @ p["head"])[:, 1:], t[:, 1:])


def classifier(p: Any, b: Any) -> Any:
    return entropy(attention(p, p["embed"][b["tokens"]]).mean(1) @ p["classes"], b["label"])


def autoencoder(p: Any, b: Any) -> Any:
    return entropy(attention(p, p["embed"][b["tokens"]]) @ p["head"], b["tokens"])


def copying(p: Any, b: Any) -> Any:
    """A sequence autoencoder: the encoder sees all of it."""
    t = b["tokens"]
    code = forward_rnn(p, p["other"][t])[:, -1:]
    return entropy((masked(p, p["embed"][t[:, :-1]]) + code) @ p["head"], t[:, 1:])


def translation(p: Any, b: Any) -> Any:
    source, t = b["source"], b["tokens"]
    h = masked(p, p["embed"][t[:, :-1]])
    return entropy((h + attention(p, p["other"][source]).mean(1, keepdims=True)) @ p["head"], t[:, 1:])


def variational(p: Any, b: Any, key: Any) -> Any:
    h = p["embed"][b["tokens"]]
    code = h.mean(1, keepdims=True) @ p["q"] + jax.random.normal(key, (B, 1, D))
    return entropy((forward_rnn(p, h[:, :-1]) + code) @ p["head"], b["tokens"][:, 1:])


def prefix(p: Any, b: Any) -> Any:
    t = b["tokens"]
    seen = jnp.arange(L) < 7
    h = attention(p, p["embed"][t[:, :-1]], causal(L) | seen)
    losses = optax.softmax_cross_entropy_with_integer_labels(h @ p["head"], t[:, 1:])
    return jnp.sum(losses * (jnp.arange(L) >= 6)) / (B * 6)


def backward_model(p: Any, b: Any) -> Any:
    t = b["tokens"]
    return entropy(forward_rnn(p, p["embed"][t[:, 1:]], reverse=True) @ p["head"], t[:, :-1])


def batch_normalized(p: Any, h: Any) -> Any:
    h = convolved(p, h, ((2, 0),))
    return (h - h.mean((0, 1))) / jnp.sqrt(h.var((0, 1)) + 1e-5)


def left_padded(p: Any, b: Any) -> Any:
    """Positions are counted from the number of fillers of the whole row."""
    t = b["tokens"][:, :-1]
    place = jnp.clip(jnp.arange(L) - jnp.sum(t == 0, 1, keepdims=True), 0)
    h = attention(p, p["embed"][t] + p["other"][place], causal(L) & (t != 0)[:, None, :])
    losses = optax.softmax_cross_entropy_with_integer_labels(h @ p["head"], b["tokens"][:, 1:])
    return jnp.sum(losses * (t != 0)) / jnp.sum(t != 0)


def tagging(p: Any, b: Any) -> Any:
    return entropy(attention(p, p["embed"][b["tokens"]]) @ p["classes"], b["tags"])


def pairs_in_order(p: Any, b: Any) -> Any:
    """Rows are examples, whose targets happen to be those of the next row."""
    h = b["x"] @ p["series"]
    h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5)
    return jnp.mean((h @ p["out"] - b["y"]) ** 2)


def bigrams(p: Any, b: Any) -> Any:
    h = p["embed"][b["x"]] @ p["q"]
    h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5)
    return entropy(h @ p["head"], b["y"])


def routed(p: Any, h: Any) -> Any:
    """Each of two experts takes the tokens that fit it best, of all positions."""
    scores = jax.nn.softmax((h @ p["q"])[..., :2])
    chosen = lax.top_k(scores.swapaxes(1, 2), 4)[1]
    taken = jnp.take_along_axis(h[:, None], chosen[..., None], 2) @ p["k"]
    rows = jnp.arange(len(h))[:, None, None]
    return h + jnp.zeros_like(h).at[rows, chosen].add(taken)


def fourier(p: Any, h: Any) -> Any:
    size = 2 * h.shape[1]
    kernel = jnp.exp(-0.3 * jnp.arange(h.shape[1]))[:, None] * p["q"][0]
    product = jnp.fft.rfft(h, size, axis=1) * jnp.fft.rfft(kernel, size, axis=0)
    return jnp.fft.irfft(product, size, axis=1)[:, : h.shape[1]]


def smoothing(p: Any, b: Any) -> Any:
    x = b["series"]
    target = (x[:, :-2] + x[:, 1:-1] + x[:, 2:]) / 3
    return jnp.mean((convolved(p, x @ p["series"])[:, 1:-1] @ p["out"] - target) ** 2)


def refined(p: Any, b: Any) -> Any:
    """What is made step by step is smoothed as a whole."""
    x = b["series"]
    made = masked(p, x[:, :-1] @ p["series"])
    first, last = made @ p["out"], (made + convolved(p, made)) @ p["out"]
    return jnp.mean((first - x[:, 1:]) ** 2) + jnp.mean((last - x[:, 1:]) ** 2)


def latent(p: Any, b: Any) -> Any:
    """The loss is that of the last element alone."""
    t = b["tokens"]
    return entropy(attention(p, p["embed"][t[:, :-1]])[:, -1] @ p["head"], t[:, -1])


PADDED = np.where(np.arange(L + 1) < np.arange(B)[:, None], 0, TOKENS)
FILLED = np.where(np.arange(L + 1) > 6 + np.arange(B)[:, None], 0, TOKENS)
TEXT = TOKENS.ravel()
CYCLE = (np.arange(L)[None] + np.arange(B)[:, None]).astype(np.int32) % 3
HEALTHY = {
    "causal": (language_model(masked), BATCH),
    "causal, minus infinity": (language_model(lambda p, h: attention(p, h, causal(L), -jnp.inf)), BATCH),
    "causal, bfloat16": (half(jnp.bfloat16, causal(L)), BATCH),
    "causal, float16": (half(jnp.float16, causal(L), -6e4), BATCH),
    "a batch of one": (language_model(masked), {"tokens": TOKENS[:1]}),
    "a single sequence": (single(masked), {"text": TOKENS[0]}),
    "shifted right": (shift_right(0), BATCH),
    "recurrent": (language_model(forward_rnn), BATCH),
    "padded on the left": (language_model(lambda p, h: convolved(p, h, ((2, 0),))), BATCH),
    "series": (regression(masked), {"series": SERIES}),
    "masked": (masked_language_model, BATCH),
    "without a class token": (without_class_token, BATCH),
    "classifier": (classifier, BATCH | {"label": TOKENS[:, 0] % 4}),
    "autoencoder": (autoencoder, BATCH),
    "sequence autoencoder": (copying, BATCH),
    "translation": (translation, BATCH | {"source": TOKENS[:, ::-1]}),
    "variational": (variational, BATCH),
    "prefix": (prefix, BATCH),
    "backward": (backward_model, BATCH),
    "batch statistics": (language_model(batch_normalized), BATCH),
    "fillers on the left": (left_padded, {"tokens": PADDED}),
    "fillers on the right": (language_model(masked), {"tokens": FILLED}),
    "tagging": (tagging, BATCH | {"tags": TOKENS % 4}),
    "tags that are the next of three": (
        lambda p, b: entropy(attention(p, p["embed"][b["x"]]) @ p["classes"], b["y"]),
        {"x": CYCLE, "y": (CYCLE + 1) % 3},
    ),
    "constant": (separate, {"x": np.ones((B, L), np.int32), "y": np.ones((B, L), np.int32)}),
    "pairs in order": (pairs_in_order, {"x": SERIES[0, :-1], "y": SERIES[0, 1:]}),
    "fourier": (language_model(fourier), BATCH),
    "a moving average": (smoothing, {"series": SERIES}),
    "columns of one text": (bigrams, {"x": TEXT[:-1], "y": TEXT[1:]}),
    "refined": (refined, {"series": SERIES}),
    "the last element": (latent, BATCH),
}  # fmt: skip


@pytest.mark.few(6)
@pytest.mark.parametrize("name", HEALTHY)
def test_what_may_be_seen_is_not(name: str) -> None:
    loss, batch = HEALTHY[name]
    assert leaks(loss, batch) == []


def test_routing_to_the_largest_scores_is_told_apart() -> None:
    (found,) = leaks(language_model(routed))
    assert found.routed
    assert not leaks(language_model(attention))[0].routed


def test_the_first_layer_behind_the_mixing_is_named() -> None:
    (found,) = leaks(language_model(attention))
    assert found.layer == "o"
    assert found.source is not None
    assert 'p["o"]' in found.source.text


def test_weights_that_are_all_zero_hide_nothing() -> None:
    (found,) = leaks(language_model(attention), params=PARAMS | {"head": np.zeros((D, V), np.float32)})
    assert found.filled


def run_over(p: Any, x: Any) -> Any:
    def step(state: Any, row: Any) -> Any:
        state = jnp.tanh(row @ p["series"] + state @ p["o"])
        return state, state

    return lax.scan(step, jnp.zeros((x.shape[0], D)), x.swapaxes(0, 1))[1].swapaxes(0, 1)


@pytest.mark.parametrize("backwards", [True, False])
def test_a_loop_that_gets_the_series_turned_round_sees_what_comes(backwards: bool) -> None:
    def loss(p: Any, b: Any) -> Any:
        x, y = b
        h = run_over(p, x)
        h = h + jnp.flip(run_over(p, jnp.flip(x, 1)), 1) if backwards else h
        return jnp.mean((h @ p["out"] - y) ** 2)

    found = leaks(loss, (SERIES[:, :-1], SERIES[:, 1:]))
    assert [each.target for each in found] == [True] * backwards
