"""The size of insurance claims from what is known of policy and driver (plain JAX). Healthy.

Claims are skewed and go into the millions: the network predicts their standardized logarithm, as is usual
for amounts of money. The twin of `claims_in_cents.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

ROWS, REGIONS = 1024, 6
SIZES = (6 + REGIONS, 48, 48, 1)


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return {
        f"layer_{i}": {"w": jax.random.normal(k, (n, m)) * (2 / n) ** 0.5, "b": jnp.zeros(m)}
        for i, (k, n, m) in enumerate(zip(keys, SIZES[:-1], SIZES[1:], strict=True))
    }


def predict(params, x):
    *hidden, last = (params[f"layer_{i}"] for i in range(len(SIZES) - 1))
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return (x @ last["w"] + last["b"])[:, 0]


def loss_fn(params, batch):
    x, claim = batch
    return jnp.mean((predict(params, x) - claim) ** 2)


def table():
    """Columns as a policy system has them, and the claim in cents."""
    rng = np.random.default_rng(0)
    age, licence = rng.uniform(18, 85, ROWS), rng.uniform(0, 1, ROWS)
    power, mileage = rng.gamma(8, 12, ROWS), rng.lognormal(9.3, 0.5, ROWS)
    earlier, parked = rng.poisson(0.4, ROWS), rng.integers(0, 2, ROWS)
    region = rng.integers(0, REGIONS, ROWS)
    risk = 0.8 * (age < 25) + 0.004 * power + 0.3 * earlier + 0.3 * np.log(mileage / 11_000)
    risk += rng.normal(0, 0.4, REGIONS)[region] - 0.2 * parked * (mileage > 11_000)
    claim = np.exp(7 + risk + rng.normal(0, 0.25, ROWS)) * 100
    numbers = np.stack([age, (age - 18) * licence, power, np.log(mileage), earlier, parked], axis=1)
    return numbers, np.eye(REGIONS)[region], np.rint(claim)


numbers, regions, claim = table()
standard = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
target = np.log(claim)
target = (target - target.mean()) / target.std()
data = np.concatenate([standard, regions], axis=1).astype(np.float32), target.astype(np.float32)
optimizer = optax.adam(1e-3)
