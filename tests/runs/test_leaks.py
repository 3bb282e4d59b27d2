"""What an output must not see, from a target to the finding."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

from gradscope import check
from gradscope.records import Finding, Severity

RNG = np.random.default_rng(5)
B, L, V, D = 8, 10, 29, 16
TOKENS = RNG.integers(1, V, (B, L + 1)).astype(np.int32)


def findings(loss: Any, params: Any, batch: Any) -> list[Finding]:
    return list(check(loss, params, batch).findings)


def entropy(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm = nnx.LayerNorm(D, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, D, decode=False, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, h: Any, mask: Any) -> Any:
        return h + self.dropout(self.attention(self.norm(h), mask=mask))


class Gpt(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(V, D, rngs=rngs)
        self.blocks = nnx.List([Block(rngs), Block(rngs)])
        self.head = nnx.Linear(D, V, rngs=rngs, kernel_init=nnx.initializers.zeros_init())

    def __call__(self, tokens: Any, mask: Any) -> Any:
        h = self.embed(tokens)
        for block in self.blocks:
            h = block(h, mask)
        return self.head(h)


def test_a_transformer_without_a_mask_is_an_error_at_its_first_attention() -> None:
    def loss(model: Any, batch: Any, mask: Any = None) -> Any:
        return entropy(model(batch[:, :-1], mask), batch[:, 1:])

    def causal(model: Any, batch: Any) -> Any:
        return loss(model, batch, nnx.make_causal_mask(batch[:, :-1]))

    (finding,) = findings(loss, Gpt(nnx.Rngs(0)), TOKENS)
    assert (finding.rule, finding.severity) == ("future-leak", Severity.ERROR)
    assert finding.layer == "blocks[0].attention.out"
    assert "small random ones stood in" in finding.message
    assert findings(causal, Gpt(nnx.Rngs(0)), TOKENS) == []


def test_a_mask_that_is_off_by_one_is_named_by_the_line_that_makes_it() -> None:
    def loss(model: Any, batch: Any) -> Any:
        mask = jnp.tril(jnp.ones((L, L), bool), 1)
        return entropy(model(batch[:, :-1], mask), batch[:, 1:])

    (finding,) = findings(loss, Gpt(nnx.Rngs(0)), TOKENS)
    assert finding.rule == "future-leak"
    assert finding.source is not None
    assert finding.source.text == "mask = jnp.tril(jnp.ones((L, L), bool), 1)"
    assert "rows see a later place" in finding.message


class Recurrent(linen.Module):
    both: bool

    @linen.compact
    def __call__(self, tokens: Any) -> Any:
        h = linen.Embed(V, D)(tokens)
        rnn = linen.RNN(linen.GRUCell(D))
        back = linen.RNN(linen.GRUCell(D))
        return linen.Dense(V)((linen.Bidirectional(rnn, back) if self.both else rnn)(h))


def test_a_recurrent_network_that_runs_both_ways_is_an_error() -> None:
    batch = {"x": TOKENS[:, :-1], "y": TOKENS[:, 1:]}

    def found(both: bool) -> list[Finding]:
        model = Recurrent(both)
        params = model.init(jax.random.key(0), batch["x"])
        return findings(lambda p, b: entropy(model.apply(p, b["x"]), b["y"]), params, batch)

    (finding,) = found(both=True)
    assert (finding.rule, finding.severity) == ("future-leak", Severity.ERROR)
    assert "`y` against `x`" in finding.message
    assert found(both=False) == []


class Forecast(eqx.Module):
    inner: eqx.nn.Conv1d
    out: eqx.nn.Conv1d

    def __init__(self, padding: Any, key: Any) -> None:
        keys = jax.random.split(key)
        self.inner = eqx.nn.Conv1d(2, D, 3, padding=padding, key=keys[0])
        self.out = eqx.nn.Conv1d(D, 2, 1, key=keys[1])

    def __call__(self, x: Any) -> Any:
        return self.out(jax.nn.gelu(self.inner(x.T))).T


def test_a_convolution_that_looks_ahead_is_an_error_at_its_line() -> None:
    series = np.cumsum(RNG.normal(size=(B, L + 1, 2)), axis=1).astype(np.float32)

    def loss(model: Any, batch: Any) -> Any:
        predicted = jax.vmap(model)(batch["series"][:, :-1])
        return jnp.mean((predicted - batch["series"][:, 1:]) ** 2)

    (finding,) = findings(loss, Forecast("SAME", jax.random.key(0)), {"series": series})
    assert (finding.rule, finding.layer) == ("future-leak", "inner")
    assert finding.source is not None
    assert "self.inner(x.T)" in finding.source.text
    assert findings(loss, Forecast([(2, 0)], jax.random.key(0)), {"series": series}) == []


class Encoder(nnx.Module):
    """Of a masked language model."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(V, D, rngs=rngs)
        self.block = Block(rngs)
        self.head = nnx.Linear(D, V, rngs=rngs)

    def __call__(self, tokens: Any) -> Any:
        return self.head(self.block(self.embed(tokens), None))


def test_an_encoder_that_sees_all_of_its_input_is_healthy() -> None:
    hidden = np.arange(L + 1) % 3 == 0
    batch = {"x": np.where(hidden, 0, TOKENS), "y": np.where(hidden, TOKENS, -1)}

    def loss(model: Any, batch: Any) -> Any:
        losses = optax.softmax_cross_entropy_with_integer_labels(model(batch["x"]), abs(batch["y"]))
        return jnp.sum(losses * (batch["y"] >= 0)) / jnp.sum(batch["y"] >= 0)

    assert findings(loss, Encoder(nnx.Rngs(0)), batch) == []


def test_data_that_the_loss_closes_over_are_looked_at_too() -> None:
    tokens = jnp.asarray(TOKENS)

    def loss(model: Any) -> Any:
        return entropy(model(tokens[:, :-1]), tokens[:, 1:])

    (finding,) = check(loss, Encoder(nnx.Rngs(0))).findings
    assert finding.rule == "future-leak"
    assert "cut from the data" in finding.message


class Classifier(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(4, D, rngs=rngs)
        self.norm = nnx.BatchNorm(D, rngs=rngs)
        self.head = nnx.Linear(D, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.head(nnx.relu(self.norm(self.hidden(x))))


def test_a_softmax_over_the_batch_is_an_error_and_batch_statistics_are_not() -> None:
    batch = {"x": RNG.normal(size=(24, 4)).astype(np.float32), "y": RNG.integers(0, 3, 24)}

    def loss(model: Any, batch: Any, axis: int = 0) -> Any:
        log_p = jax.nn.log_softmax(model(batch["x"]), axis=axis)
        return -jnp.mean(log_p[jnp.arange(24), batch["y"]])  # of the right class

    (finding,) = findings(loss, Classifier(nnx.Rngs(0)), batch)
    assert (finding.rule, finding.severity, finding.layer) == ("batch-leak", Severity.ERROR, "head")
    assert finding.source is not None
    assert "of the right class" in finding.source.text
    assert findings(lambda m, b: loss(m, b, 1), Classifier(nnx.Rngs(0)), batch) == []


class Reader(linen.Module):
    reshapes: bool

    @linen.compact
    def __call__(self, x: Any) -> Any:
        steps = x.reshape(x.shape[1], x.shape[0], -1) if self.reshapes else x.swapaxes(0, 1)
        h = linen.RNN(linen.LSTMCell(D), time_major=True)(steps)
        return linen.Dense(1)(h[-1])[:, 0]


def test_a_reshape_that_mixes_examples_is_a_warning_at_its_line() -> None:
    # Drawn here: what other tests drew before would decide whether the trial of a transpose ends better.
    x = np.random.default_rng(2).normal(size=(16, 6, 2)).astype(np.float32)
    batch = {"x": x, "y": x.sum((1, 2))}

    def found(reshapes: bool) -> list[Finding]:
        model = Reader(reshapes)
        params = model.init(jax.random.key(0), batch["x"])
        return findings(lambda p, b: jnp.mean((model.apply(p, b["x"]) - b["y"]) ** 2), params, batch)

    (finding,) = found(reshapes=True)
    assert (finding.rule, finding.severity) == ("batch-leak", Severity.WARNING)
    assert finding.source is not None
    assert "x.reshape(" in finding.source.text
    assert found(reshapes=False) == []


class Sentiment(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(V, D, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, D, decode=False, rngs=rngs)
        self.head = nnx.Linear(D, 2, rngs=rngs)

    def __call__(self, tokens: Any, mask: Any, seen: Any) -> Any:
        h = self.attention(self.embed(tokens), mask=seen)
        return self.head(jnp.sum(h * mask[..., None], 1) / jnp.sum(mask, 1, keepdims=True))


def test_attention_to_fillers_is_a_warning() -> None:
    mask = np.arange(L + 1) < np.random.default_rng(5).integers(3, L, B)[:, None]
    batch = {"x": TOKENS * mask, "mask": mask.astype(np.float32), "y": TOKENS[:, 0] % 2}

    def loss(model: Any, batch: Any, seen: Any = None) -> Any:
        return entropy(model(batch["x"], batch["mask"], seen), batch["y"])

    def masked(model: Any, batch: Any) -> Any:
        return loss(model, batch, batch["mask"][:, None, None, :] > 0)

    (finding,) = findings(loss, Sentiment(nnx.Rngs(0)), batch)
    assert (finding.rule, finding.severity) == ("padding-leak", Severity.WARNING)
    assert "fills `x` up to one length: `mask` leaves out" in finding.message
    assert findings(masked, Sentiment(nnx.Rngs(0)), batch) == []
