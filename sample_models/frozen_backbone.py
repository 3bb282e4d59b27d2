"""Fine-tuning: a pretrained backbone, frozen on purpose with `stop_gradient`, and a new head. Healthy.

It has the operation of `misplaced_stop_gradient.py`, but the cut follows the parts the user named: all
of `backbone` is frozen and all of `head` trains. At most a note is due.
"""

import jax
import jax.numpy as jnp
import numpy as np


def init(key):
    *k_backbone, k_head = jax.random.split(key, 4)
    he = jax.nn.initializers.he_normal()
    shapes = [(12, 24), (24, 24), (24, 24)]
    return {
        "backbone": [
            {"kernel": he(k, s), "bias": jnp.zeros(s[1])} for k, s in zip(k_backbone, shapes, strict=True)
        ],
        "head": {"kernel": he(k_head, (24, 3)), "bias": jnp.zeros(3)},
    }


def features(backbone, x):
    for layer in backbone:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    return x


def loss_fn(params, batch):
    x, labels = batch
    h = jax.lax.stop_gradient(features(params["backbone"], x))
    log_probs = jax.nn.log_softmax(h @ params["head"]["kernel"] + params["head"]["bias"])
    return -jnp.take_along_axis(log_probs, labels[:, None], axis=1).mean()


rng = np.random.default_rng(7)
batch = (rng.normal(size=(64, 12)).astype(np.float32), rng.integers(0, 3, 64))
