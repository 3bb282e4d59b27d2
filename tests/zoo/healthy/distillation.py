"""A student learns from soft answers of a frozen teacher at a temperature of 4, beside the labels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [16, 32, 3]


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


teacher = init(jax.random.PRNGKey(5))


def loss_fn(params, batch):
    x, labels = batch
    logits = predict(params, x)
    soft = jax.nn.softmax(jax.lax.stop_gradient(predict(teacher, x)) / 4)
    distilled = 16 * optax.softmax_cross_entropy(logits / 4, soft).mean()
    return distilled + 0.1 * optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def metric(params):
    return jnp.mean((jax.nn.softmax(predict(params, x)) - jax.nn.softmax(predict(teacher, x))) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.asarray(predict(teacher, x).argmax(axis=1))
batch = x, labels
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "loss without a gradient"}
