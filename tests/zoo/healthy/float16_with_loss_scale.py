"""float16 activations and a loss scale of 1024, taken out of the updates again."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 64, 3]


def init(key):
    keys = jax.random.split(key, 2)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)
    ]


def loss_fn(params, batch):
    x, labels = batch
    one, two = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), params)
    h = jax.nn.relu(x.astype(jnp.float16) @ one["w"] + one["b"])
    logits = (h @ two["w"] + two["b"]).astype(jnp.float32)
    return 1024 * optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
optimizer = optax.chain(optax.scale(1 / 1024), optax.adam(3e-3))

EXPECTED = {"fault": None, "like": "wrong precision"}
