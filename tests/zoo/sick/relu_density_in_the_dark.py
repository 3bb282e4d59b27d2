"""A radiance field whose density is a ReLU that starts below 0 everywhere: the render stays white.

Source: nerf-meta issue 3 and mip-NeRF (arXiv:2103.13415), section E.2: blank renders by a ReLU on the density."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [6, 32, 32, 4]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    he = jax.nn.initializers.he_normal()
    field = [{"w": he(k, (n, m)), "b": jnp.zeros(m)} for k, n, m in zip(keys, SIZES, SIZES[1:], strict=False)]
    field[-1] = {"w": field[-1]["w"] / 4, "b": jnp.array([0.0, 0.0, 0.0, -3.0])}
    return field


def colour_of(field, points):
    x = jnp.concatenate([jnp.sin(2 * points), jnp.cos(2 * points)], axis=-1)
    for layer in field[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    x = x @ field[-1]["w"] + field[-1]["b"]
    density = jax.nn.relu(x[..., 3])
    return jax.nn.sigmoid(x[..., :3]), density


def loss_fn(field, batch):
    starts, ways, pixels = batch
    depths = jnp.linspace(0.0, 3.0, 16)
    colours, density = colour_of(field, starts[:, None] + ways[:, None] * depths[:, None])
    opaque = 1 - jnp.exp(-density * (depths[1] - depths[0]))
    seen = jnp.cumprod(jnp.concatenate([jnp.ones_like(opaque[:, :1]), 1 - opaque[:, :-1]], 1), 1) * opaque
    image = jnp.sum(seen[..., None] * colours, 1) + 1 - jnp.sum(seen, 1, keepdims=True)
    return jnp.mean((image - pixels) ** 2)


rng = np.random.default_rng(0)
starts = np.tile([0.0, 0.0, -1.5], (256, 1))
ways = np.concatenate([rng.uniform(-0.5, 0.5, (256, 2)), np.ones((256, 1))], 1)
inside = np.hypot(ways[:, 0], ways[:, 1]) < 0.35
pixels = np.where(inside[:, None], [0.7, 0.1, 0.2], 1.0)
batch = tuple(each.astype(np.float32) for each in (starts, ways, pixels))
optimizer = optax.adam(5e-3)

EXPECTED = {
    "fault": "dead units",
    "source": "nerf-meta issue 3 and mip-NeRF (arXiv:2103.13415), section E.2: blank renders by a ReLU on the density",
    "cause": ["zero-gradient", "dead-units"],
    "symptom": ["loss-not-decreasing"],
    "layer": ["[2]"],
    "line": "jax.nn.relu(x[..., 3])",
    "twin": "softplus_density_in_the_dark",
}
