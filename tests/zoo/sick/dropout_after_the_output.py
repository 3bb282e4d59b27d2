"""The dropout stands behind the output of a regression.

Source: Stack Overflow and Keras issues, dropout after the last layer; Humbatova et al. 2020, suboptimal dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

PERIODS = np.array([24.0, 12.0, 168.0, 84.0], np.float32)


class Demand(nn.Module):
    """Rentals of an hour from the count of hours since January 1st."""

    dtype: jnp.dtype = jnp.bfloat16

    @nn.compact
    def __call__(self, hours, train: bool):
        angles = 2 * jnp.pi * hours[:, None] / PERIODS
        x = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        for width in (64, 64):
            x = nn.silu(nn.Dense(width, dtype=self.dtype)(x))
            x = nn.Dropout(0.05, deterministic=not train)(x)
        x = nn.Dense(1, dtype=self.dtype)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return x[:, 0].astype(jnp.float32)


model = Demand()


def loss_fn(params, batch, key):
    hours, rentals = batch
    predicted = model.apply(params, hours, train=True, rngs={"dropout": key})
    return jnp.mean((predicted - rentals) ** 2)


def load():
    rng = np.random.default_rng(11)
    hours = np.arange(24 * 365)
    of_day, of_week = hours % 24, hours // 24 % 7
    rush = np.exp(-((of_day - 8) ** 2) / 4) + np.exp(-((of_day - 18) ** 2) / 6)
    leisure = np.exp(-((of_day - 14) ** 2) / 20)
    rentals = np.where(of_week < 5, rush, leisure) + 0.05 * rng.normal(size=len(hours))
    rentals = (rentals - rentals.mean()) / rentals.std()
    order = rng.permutation(len(hours))[:4096]
    return hours[order].astype(np.float32), rentals[order].astype(np.float32)


def data_loader(batch_size=256):
    hours, rentals = load()
    for i in range(0, len(hours), batch_size):
        yield hours[i : i + batch_size], rentals[i : i + batch_size]


batches = list(data_loader())
params = model.init(jax.random.PRNGKey(0), batches[0][0], train=False)
optimizer = optax.adamw(5e-3, weight_decay=1e-4)

EXPECTED = {
    "fault": "wrong dropout",
    "source": "Stack Overflow and Keras issues, dropout after the last layer; Humbatova et al. 2020, suboptimal dropout",
    "cause": ["dropout-too-high"],
    "symptom": ["loss-not-decreasing", "oscillating-loss", "plateau"],
    "layer": [],
    "line": "Dropout(0.5",
    "twin": "hours_in_float32_layers_in_bfloat16",
}
