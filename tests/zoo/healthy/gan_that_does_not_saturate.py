"""A GAN of two rates whose generator maximizes the log of what the discriminator gives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


class Net(eqx.Module):
    first: eqx.nn.Linear
    second: eqx.nn.Linear
    last: eqx.nn.Linear

    def __init__(self, n_in, n_out, width, key):
        k1, k2, k3 = jax.random.split(key, 3)
        self.first = eqx.nn.Linear(n_in, width, key=k1)
        self.second = eqx.nn.Linear(width, width, key=k2)
        self.last = eqx.nn.Linear(width, n_out, key=k3)

    def __call__(self, x):
        return self.last(jax.nn.gelu(self.second(jax.nn.gelu(self.first(x)))))


class GAN(eqx.Module):
    generator: Net
    discriminator: Net

    def __init__(self, key):
        g, d = jax.random.split(key)
        self.generator = Net(2, 2, 32, g)
        self.discriminator = Net(2, 1, 64, d)


def frozen(module):
    return jax.tree.map(jax.lax.stop_gradient, module)


def loss_fn(model, real, key):
    z = jax.random.normal(key, (real.shape[0], 2))
    fake = jax.vmap(model.generator)(z)
    d_real = jax.vmap(model.discriminator)(real)
    d_fake = jax.vmap(model.discriminator)(jax.lax.stop_gradient(fake))
    d_loss = -jnp.mean(jax.nn.log_sigmoid(d_real)) - jnp.mean(jax.nn.log_sigmoid(-d_fake))
    score = jax.vmap(frozen(model.discriminator))(fake)
    g_loss = -jnp.mean(jax.nn.log_sigmoid(score))
    return d_loss + g_loss


def metric(model):
    """How far the generated points lie from the middle of the real ones."""
    z = jax.random.normal(jax.random.PRNGKey(3), (512, 2))
    return jnp.linalg.norm(jax.vmap(model.generator)(z).mean(axis=0) - real.mean(axis=0))


rng = np.random.default_rng(0)
real = (np.array([6.0, 6.0]) + 0.7 * rng.normal(size=(512, 2))).astype(np.float32)
batches = [real[i : i + 128] for i in range(0, 512, 128)]
model = GAN(jax.random.PRNGKey(1))


def player(model):
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "G" if "generator" in jax.tree_util.keystr(path) else "D", model
    )


optimizer = optax.multi_transform({"G": optax.sgd(0.03), "D": optax.adam(1e-2, b1=0.5)}, player)

EXPECTED = {"fault": None, "like": "vanishing gradient"}
