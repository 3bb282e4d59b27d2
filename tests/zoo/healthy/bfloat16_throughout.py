"""Weights and activations in bfloat16, and Adam steps that are large enough to arrive."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

half = {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}
model = nn.Sequential([nn.Dense(64, **half), nn.gelu, nn.Dense(64, **half), nn.gelu, nn.Dense(3, **half)])


def loss_fn(params, batch):
    x, labels = batch
    logits = model.apply(params, x).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
params = model.init(jax.random.PRNGKey(0), x)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong precision"}
