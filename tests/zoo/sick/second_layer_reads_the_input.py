"""The deep part reads `x` again instead of `h`, and the first layers are cut off from the loss.

Source: Humbatova et al. 2020, wrong network architecture; defect4ML, layer connected to the wrong
tensor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    he = jax.nn.initializers.he_normal()
    return {
        "embed": {"w": he(k1, (10, 10)), "b": jnp.zeros(10)},
        "mix": {"w": he(k2, (10, 10)), "b": jnp.zeros(10)},
        "out": {"w": he(k3, (10, 1)), "b": jnp.zeros(1)},
    }


def dense(layer, x):
    return x @ layer["w"] + layer["b"]


def predict(params, x):
    h = jax.nn.relu(dense(params["embed"], x))
    h = jax.nn.relu(dense(params["mix"], h))
    return dense(params["out"], x)


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((predict(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 10)).astype(np.float32)
y = np.abs(x[:, :1] + x[:, 1:2]).astype(np.float32) - 1
batch = x, y
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "layer left out",
    "source": "Humbatova et al. 2020, wrong network architecture; defect4ML, layer connected to the wrong tensor",
    "cause": ["disconnected-parameter"],
    "symptom": ["loss-not-decreasing"],
    "layer": ["embed", "mix"],
    "line": "",
    "twin": "second_layer_reads_the_first",
}
