"""Logistic regression with weights of zero at the start."""

import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    return {"w": jnp.zeros((20, 2)), "b": jnp.zeros(2)}


def loss_fn(params, batch):
    x, labels = batch
    logits = x @ params["w"] + params["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(300, 20)).astype(np.float32)
batch = x, (x @ rng.normal(size=20) > 0).astype(int)
optimizer = optax.sgd(0.5)

EXPECTED = {"fault": None, "like": "too little capacity"}
