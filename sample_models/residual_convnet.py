"""The same convolutions with a skip connection around each: the twin of `plain_deep_convnet.py`.

Healthy although its weights are as small: `x + f(x)` hands δ back unchanged beside what `f` adds, so
the first block hears as much from the loss as the last one (He et al. 2016).
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
        x = x + conv(block, jax.nn.relu(x))
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
