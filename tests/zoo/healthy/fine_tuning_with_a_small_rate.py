"""A classifier that was trained before is adapted to a small shift at a rate of 1e-4."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 64, 3]


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


def pretrained():
    params = init(jax.random.PRNGKey(0))
    adam = optax.adam(3e-3)
    state = adam.init(params)

    @jax.jit
    def step(params, state):
        updates, state = adam.update(jax.grad(loss_fn)(params, (x, labels)), state)
        return optax.apply_updates(params, updates), state

    for _ in range(100):
        params, state = step(params, state)
    return params


params = pretrained()
batch = (x + 0.4).astype(np.float32), labels
optimizer = optax.adamw(3e-4)

EXPECTED = {"fault": None, "like": "learning rate too low"}
