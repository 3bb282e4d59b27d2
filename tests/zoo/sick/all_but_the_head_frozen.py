"""The labels of `multi_transform` are mixed up: the random body is frozen and only a gain is trained.

Source: TrainCheck (Jiang et al. 2025), optimizer built without some parameters; defect4ML."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "body": {"w": jax.random.normal(k1, (8, 256)) / 2, "b": jnp.zeros(256)},
        "head": {"w": jax.random.normal(k2, (256, 1)) / 16, "b": jnp.zeros(1)},
    }


def loss_fn(params, batch):
    x, y = batch
    hidden = jnp.tanh(x @ params["body"]["w"] + params["body"]["b"])
    return jnp.mean((hidden @ params["head"]["w"] + params["head"]["b"] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype(np.float32)
y = (x[:, :1] + np.sin(2 * x[:, 1:2])).astype(np.float32)
batch = x, y
frozen = {"body": {"w": "frozen", "b": "train"}, "head": {"w": "frozen", "b": "train"}}
optimizer = optax.multi_transform({"train": optax.adam(3e-3), "frozen": optax.set_to_zero()}, frozen)

EXPECTED = {
    "fault": "wrong parameters in the optimizer",
    "source": "TrainCheck (Jiang et al. 2025), optimizer built without some parameters; defect4ML",
    "cause": ["not-updated"],
    "symptom": ["loss-not-decreasing", "learning-rate-too-low"],
    "layer": ["body", "hidden"],
    "line": "",
    "twin": "backbone_frozen_on_purpose",
}
