"""A patch mixer with a zero-initialized head, as Vision Transformers are trained. Healthy.

At step 0 everything below the head has a gradient of exactly zero, as in `dead_relu_mlp.py`; but the head
itself has one, and a step later all are alive. Nothing is to be reported.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

PATCHES, WIDTH, CLASSES = 9, 16, 4


def init(key):
    k = jax.random.split(key, 5)

    def dense(key, n_in, n_out):
        return {"kernel": jax.random.normal(key, (n_in, n_out)) / n_in**0.5, "bias": jnp.zeros(n_out)}

    return {
        "patches": dense(k[0], 16, WIDTH),
        "blocks": [
            {"tokens": dense(k[1], PATCHES, PATCHES), "channels": dense(k[2], WIDTH, WIDTH)},
            {"tokens": dense(k[3], PATCHES, PATCHES), "channels": dense(k[4], WIDTH, WIDTH)},
        ],
        "head": {"kernel": jnp.zeros((WIDTH, CLASSES)), "bias": jnp.zeros(CLASSES)},
    }


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def loss_fn(params, batch):
    image, label = batch["image"], batch["label"]
    x = image.reshape(-1, 3, 4, 3, 4).swapaxes(2, 3).reshape(-1, PATCHES, 16)
    x = dense(params["patches"], x)
    for block in params["blocks"]:
        x = x + jax.nn.gelu(dense(block["tokens"], x.swapaxes(1, 2))).swapaxes(1, 2)
        x = x + jax.nn.gelu(dense(block["channels"], x))
    logits = dense(params["head"], x.mean(axis=1))
    return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()


def batches():
    rng = np.random.default_rng(12)
    for _ in range(4):
        yield {
            "image": rng.normal(size=(16, 12, 12)).astype(np.float32),
            "label": rng.integers(0, CLASSES, 16).astype(np.int32),
        }


optimizer = optax.adamw(3e-3)
