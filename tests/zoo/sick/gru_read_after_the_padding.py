"""The GRU is read at the last step, ninety steps of padding after the last word.

Source: Stack Overflow, last output of an LSTM on padded sequences; Humbatova et al. 2020, wrong network architecture."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

VOCAB, MAX_LEN, HIDDEN = 20, 96, 32


class SentimentGRU(eqx.Module):
    embed: eqx.nn.Embedding
    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, key):
        k1, k2, k3 = jax.random.split(key, 3)
        self.embed = eqx.nn.Embedding(VOCAB, 16, key=k1)
        self.cell = eqx.nn.GRUCell(16, HIDDEN, key=k2)
        self.head = eqx.nn.Linear(HIDDEN, 1, key=k3)

    def __call__(self, tokens, lengths):
        x = jax.vmap(jax.vmap(self.embed))(tokens)
        x = jnp.swapaxes(x, 0, 1)  # scan goes over time

        def step(h, x_t):
            h = jax.vmap(self.cell)(x_t, h)
            return h, h

        _, hs = jax.lax.scan(step, jnp.zeros((x.shape[1], HIDDEN)), x)
        hs = jnp.swapaxes(hs, 0, 1)
        last = hs[:, -1]
        return jax.vmap(self.head)(last)[:, 0]


def loss_fn(model, batch):
    logits = model(batch["tokens"], batch["length"])
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, batch["label"]))


def make_reviews(rng, n):
    """Words 1-4 are praise, unless word 5 ("not") is the one before. 0 pads."""
    tokens = np.zeros((n, MAX_LEN), np.int32)
    length = rng.integers(3, 9, n)
    label = np.zeros(n, np.float32)
    for i in range(n):
        words = rng.integers(6, VOCAB, length[i])
        at = rng.integers(0, length[i] - 1)
        words[at : at + 2] = rng.choice([5, 6]), rng.integers(1, 5)
        label[i] = words[at] != 5
        tokens[i, : length[i]] = words
    return {"tokens": tokens, "length": length, "label": label}


reviews = make_reviews(np.random.default_rng(1), 1024)
batches = [{k: v[i : i + 64] for k, v in reviews.items()} for i in range(0, 1024, 64)]
model = SentimentGRU(jax.random.PRNGKey(1))
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong recurrence",
    "source": "Stack Overflow, last output of an LSTM on padded sequences; Humbatova et al. 2020, wrong network architecture",
    "cause": ["padding-leak", "reads-padding", "vanishing-through-time", "unused-batch-part"],
    "symptom": [
        "constant-output",
        "loss-not-decreasing",
        "plateau",
        "vanishing-gradient",
        "learning-rate-too-low",
        "disconnected-parameter",
    ],
    "layer": [],
    "line": "",
    "twin": "gru_read_at_the_last_word",
}
