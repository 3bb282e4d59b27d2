"""One layer's biases start at -100, so its ReLUs never open: it and all below it are dead for good.

Sick: layer 2 answers zero to every input and its gradient is exactly zero, now and after any number of
steps. Remedy: start the bias near zero, as in `live_relu_mlp.py`, or use a leaky ReLU.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SHAPES = [(8, 32), (32, 32), (32, 32), (32, 32), (32, 2)]
FIRST_BIAS = [0.01, 0.01, -100.0, 0.01, 0.01]


def init(key):
    return {
        "layers": [
            (jax.random.normal(k, shape) * (2 / shape[0]) ** 0.5, jnp.full(shape[1], bias))
            for k, shape, bias in zip(jax.random.split(key, 5), SHAPES, FIRST_BIAS, strict=True)
        ]
    }


def loss_fn(params, batch):
    x, y = batch
    *hidden, (w_out, b_out) = params["layers"]
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return optax.l2_loss(x @ w_out + b_out, y).mean()


def make_batch():
    x = np.random.default_rng(11).normal(size=(48, 8)).astype(np.float32)
    return x, np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1)


batch = make_batch()
optimizer = optax.sgd(0.1)
