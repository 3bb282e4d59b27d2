"""Will a patient come back within thirty days? A table of blood values and diagnoses (plain JAX). Healthy.

One output, a sigmoid of it, and the cross-entropy of a yes or no. The twin of `readmission_softmax.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

PATIENTS, DIAGNOSES = 1024, 8
SIZES = (6 + DIAGNOSES, 48, 24, 1)


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return {
        f"layer_{i}": {"w": jax.random.normal(k, (n, m)) * (2 / n) ** 0.5, "b": jnp.zeros(m)}
        for i, (k, n, m) in enumerate(zip(keys, SIZES[:-1], SIZES[1:], strict=True))
    }


def risk(params, x):
    *hidden, last = (params[f"layer_{i}"] for i in range(len(SIZES) - 1))
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return jax.nn.sigmoid(x @ last["w"] + last["b"])[:, 0]


def loss_fn(params, batch):
    x, back = batch
    p = jnp.clip(risk(params, x), 1e-6, 1 - 1e-6)
    return -jnp.mean(back * jnp.log(p) + (1 - back) * jnp.log(1 - p))


def patients():
    """Age, stays, and four blood values; an eighth are missing and filled with the mean."""
    rng = np.random.default_rng(0)
    age, stays = rng.normal(68, 14, PATIENTS), rng.poisson(1.2, PATIENTS)
    sodium, potassium = rng.normal(138, 4, PATIENTS), rng.normal(4.2, 0.5, PATIENTS)
    creatinine, hemoglobin = rng.lognormal(0.1, 0.4, PATIENTS), rng.normal(12, 2, PATIENTS)
    diagnoses = rng.random((PATIENTS, DIAGNOSES)) < 0.15
    odds = 0.05 * (age - 68) + 0.8 * stays + 1.5 * (creatinine > 1.5) - 0.4 * (hemoglobin - 12)
    odds += np.abs(potassium - 4.2) + diagnoses @ rng.normal(0.5, 1, DIAGNOSES) - 2.2
    back = rng.random(PATIENTS) < 1 / (1 + np.exp(-2 * odds))
    values = np.stack([age, stays, sodium, potassium, creatinine, hemoglobin], axis=1)
    missing = rng.random(values.shape) < np.array([0, 0, 1, 1, 1, 1]) / 8
    values = np.where(missing, values.mean(axis=0), values)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    return np.concatenate([standard, diagnoses], axis=1).astype(np.float32), back.astype(np.float32)


data = patients()
optimizer = optax.adam(3e-3)
