"""The random encoder is detached where only the target should be, and its bottleneck loses what matters.

Source: TrainCheck (Jiang et al. 2025), parameters detached by mistake; defect4ML."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    he = jax.nn.initializers.he_normal()
    return {
        "encoder": {"w": he(k1, (20, 3)), "b": jnp.zeros(3)},
        "head": {"w": he(k2, (3, 1)), "b": jnp.zeros(1)},
    }


def loss_fn(params, batch):
    x, y = batch
    code = jnp.tanh(x @ params["encoder"]["w"] + params["encoder"]["b"])
    code = jax.lax.stop_gradient(code)
    return jnp.mean((code @ params["head"]["w"] + params["head"]["b"] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 20)).astype(np.float32)
y = np.tanh(x[:, :1] - x[:, 1:2]).astype(np.float32)
batch = x, y
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "loss without a gradient",
    "source": "TrainCheck (Jiang et al. 2025), parameters detached by mistake; defect4ML",
    "cause": ["blocked-gradient"],
    "symptom": ["loss-not-decreasing"],
    "layer": ["encoder"],
    "line": "stop_gradient",
    "twin": "stop_gradient_on_the_target",
}
