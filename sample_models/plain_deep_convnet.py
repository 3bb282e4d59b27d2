"""Twenty-two convolutions in a row, initialized as PyTorch does by default, and no skip connections.

Sick: uniform weights in ±1/sqrt(fan_in) keep 1/sqrt(6) of δ per ReLU layer, so after twenty layers
nothing is left. Remedy: residual connections, as in `residual_convnet.py` (or He initialization).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

DEPTH, CHANNELS = 20, 8


def conv_init(key, n_in, n_out):
    bound = (9 * n_in) ** -0.5
    return {
        "kernel": jax.random.uniform(key, (3, 3, n_in, n_out), minval=-bound, maxval=bound),
        "bias": jnp.zeros(n_out),
    }


def conv(p, x):
    y = jax.lax.conv_general_dilated(
        x, p["kernel"], window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + p["bias"]


def init(key):
    stem, head, *blocks = jax.random.split(key, DEPTH + 2)
    return {
        "stem": conv_init(stem, 1, CHANNELS),
        "blocks": [conv_init(k, CHANNELS, CHANNELS) for k in blocks],
        "head": {"kernel": jax.random.normal(head, (CHANNELS, 4)) * CHANNELS**-0.5, "bias": jnp.zeros(4)},
    }


def apply(params, images):
    x = conv(params["stem"], images)
    for block in params["blocks"]:
        x = conv(block, jax.nn.relu(x))
    x = jax.nn.relu(x).mean(axis=(1, 2))
    return x @ params["head"]["kernel"] + params["head"]["bias"]


def loss_fn(params, batch):
    logits = apply(params, batch["image"])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()
    return loss, {"accuracy": (logits.argmax(-1) == batch["label"]).mean()}


def data():
    rng = np.random.default_rng(2)
    label = rng.integers(0, 4, size=32)
    image = rng.normal(size=(32, 8, 8, 1)) + label[:, None, None, None]
    return {"image": image.astype(np.float32), "label": label.astype(np.int32)}


optimizer = optax.adam(1e-3)
