"""Ten sigmoid layers in a row: the classic vanishing gradient.

Sick: a sigmoid's slope is at most 1/4, so δ keeps less than a quarter at every layer on its way
back and the first layers stand still. Remedy: ReLU with He initialization, as in `deep_relu_mlp.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np

SIZES = [16, *[32] * 9, 3]


def init(key):
    layers = []
    for n_in, n_out, k in zip(SIZES[:-1], SIZES[1:], jax.random.split(key, len(SIZES) - 1), strict=True):
        w = jax.random.normal(k, (n_in, n_out)) * jnp.sqrt(1.0 / n_in)
        layers.append({"w": w, "b": jnp.zeros(n_out)})
    return {"layers": layers}


def predict(params, x):
    *hidden, last = params["layers"]
    for layer in hidden:
        x = jax.nn.sigmoid(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss_fn(params, batch):
    x, labels = batch
    log_probs = jax.nn.log_softmax(predict(params, x))
    return -jnp.mean(log_probs[jnp.arange(len(labels)), labels])


rng = np.random.default_rng(0)
batch = (rng.normal(size=(64, 16)).astype(np.float32), rng.integers(0, 3, size=64))
