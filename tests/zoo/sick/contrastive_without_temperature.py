"""Raw dot products of large embeddings are divided by a temperature of 0.01: the softmax is saturated.

Source: Wang & Liu 2021 on the temperature of contrastive losses; SimCLR reimplementations, missing
normalization."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [20, 64, 32]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def predict(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss_fn(params, batch):
    one, two = (predict(params, view) for view in batch)
    logits = one @ two.T / 0.01
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(len(one))).mean()


rng = np.random.default_rng(0)
content = rng.normal(size=(64, 6)) @ rng.normal(size=(6, 20))
batch = tuple((content + 3 * rng.normal(size=(64, 20))).astype(np.float32) for _ in range(2))
optimizer = optax.sgd(0.05)

EXPECTED = {
    "fault": "wrong loss function",
    "source": "Wang & Liu 2021 on the temperature of contrastive losses; SimCLR reimplementations, missing normalization",
    "cause": ["large-logits", "unexpected-initial-loss"],
    "symptom": [
        "exploding-gradient",
        "learning-rate-too-high",
        "loss-not-decreasing",
        "oscillating-loss",
        "loss-spike",
        "diverging-loss",
    ],
    "layer": [],
    "line": "/",
    "twin": "contrastive_with_temperature",
}
