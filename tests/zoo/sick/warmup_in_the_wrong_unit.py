"""The warm-up is given in examples where steps are asked for: it would take ten million steps.

Source: TrainCheck (Jiang et al. 2025), scheduler; Humbatova et al. 2020, suboptimal learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 64, 64, 3]


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
    x, labels = batch
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
schedule = optax.warmup_cosine_decay_schedule(0.0, 3e-3, 10_000_000, 20_000_000)
optimizer = optax.adamw(schedule)

EXPECTED = {
    "fault": "wrong learning-rate schedule",
    "source": "TrainCheck (Jiang et al. 2025), scheduler; Humbatova et al. 2020, suboptimal learning rate",
    "cause": ["learning-rate-too-low", "not-updated"],
    "symptom": ["loss-not-decreasing", "invisible-update"],
    "layer": [],
    "line": "",
    "twin": "warmup_in_steps",
}
