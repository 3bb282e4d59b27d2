"""A hand-written backward rule of a clipped activation has its sign turned.

Source: Zhang et al. 2018; Humbatova et al. 2020, wrong implementation of a custom layer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [8, 32, 1]


@jax.custom_vjp
def hard_tanh(x):
    return jnp.clip(x, -1, 1)


def forward(x):
    return hard_tanh(x), x


def backward(x, ct):
    return (jnp.where(jnp.abs(x) < 1, -ct, 0),)


hard_tanh.defvjp(forward, backward)


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "w1": jax.random.normal(k1, (8, 32)) / 3,
        "b1": jnp.zeros(32),
        "w2": jax.random.normal(k2, (32, 1)) / 6,
    }


def loss_fn(params, batch):
    x, y = batch
    h = hard_tanh(x @ params["w1"] + params["b1"])
    return jnp.mean((h @ params["w2"] - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype(np.float32)
y = np.tanh(2 * x[:, :1] * x[:, 1:2]).astype(np.float32)
batch = x, y
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong gradient",
    "source": "Zhang et al. 2018; Humbatova et al. 2020, wrong implementation of a custom layer",
    "cause": ["wrong-gradient"],
    "symptom": ["ascending-update", "loss-not-decreasing", "diverging-loss", "learning-rate-too-high"],
    "layer": [],
    "line": "custom_vjp",
    "twin": "backward_rule_with_the_right_sign",
}
