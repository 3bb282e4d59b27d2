"""Domain-adversarial training: a custom rule turns the gradient of the domain head on purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


@jax.custom_vjp
def reverse(x):
    return x


reverse.defvjp(lambda x: (x, None), lambda _, ct: (-0.1 * ct,))


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    he = jax.nn.initializers.he_normal()
    return {
        "features": {"w": he(k1, (8, 32)), "b": jnp.zeros(32)},
        "label": {"w": he(k2, (32, 1)), "b": jnp.zeros(1)},
        "domain": {"w": he(k3, (32, 1)), "b": jnp.zeros(1)},
    }


def dense(layer, x):
    return x @ layer["w"] + layer["b"]


def loss_fn(params, batch):
    x, label, domain = batch
    h = jax.nn.relu(dense(params["features"], x))
    label_loss = optax.sigmoid_binary_cross_entropy(dense(params["label"], h)[:, 0], label).mean()
    domain_loss = optax.sigmoid_binary_cross_entropy(dense(params["domain"], reverse(h))[:, 0], domain).mean()
    return label_loss + domain_loss


rng = np.random.default_rng(0)
label, domain = rng.integers(0, 2, (2, 256)).astype(np.float32)
x = rng.normal(size=(256, 8)).astype(np.float32)
x[:, 0] += 2 * label - 1
x[:, 1] += domain
batch = x, label, domain
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong sign"}
