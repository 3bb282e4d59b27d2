"""A small GAN in one loss: the discriminator's term falls, the generator's rises; `stop_gradient` keeps
them apart."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def mlp(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, sizes, sizes[1:], strict=False)
    ]


def init(key):
    k1, k2 = jax.random.split(key)
    return {"generator": mlp(k1, [4, 32, 2]), "discriminator": mlp(k2, [2, 32, 1])}


def apply(layers, x):
    for layer in layers[:-1]:
        x = jax.nn.leaky_relu(x @ layer["w"] + layer["b"], 0.2)
    return x @ layers[-1]["w"] + layers[-1]["b"]


def loss_fn(params, batch, key):
    fake = apply(params["generator"], jax.random.normal(key, (len(batch), 4)))
    judge = params["discriminator"]
    real_score, fake_score = apply(judge, batch), apply(judge, jax.lax.stop_gradient(fake))
    judge_loss = jnp.mean(jax.nn.softplus(-real_score)) + jnp.mean(jax.nn.softplus(fake_score))
    fooled = apply(jax.lax.stop_gradient(judge), fake)
    return judge_loss + jnp.mean(jax.nn.softplus(-fooled))


def metric(params):
    """Distance of the mean of what is generated to the mean of the data."""
    fake = apply(params["generator"], jax.random.normal(jax.random.PRNGKey(1), (512, 4)))
    return jnp.linalg.norm(fake.mean(axis=0) - batch.mean(axis=0))


rng = np.random.default_rng(0)
batch = (np.array([3, -2]) + 0.5 * rng.normal(size=(256, 2))).astype(np.float32)
optimizer = optax.adam(3e-3, b1=0.5)

EXPECTED = {"fault": None, "like": "wrong sign"}
