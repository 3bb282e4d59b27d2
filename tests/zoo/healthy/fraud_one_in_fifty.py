"""One row in fifty is fraud; the last bias starts at the log of those odds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

rng = np.random.default_rng(0)
N = 8192
fraud = (rng.random(N) < 0.02).astype(np.float32)
amount = rng.lognormal(3 + 1.5 * fraud, 0.7)
night = rng.random(N) < 0.1 + 0.6 * fraud
last_hour = rng.poisson(1 + 4 * fraud)
distance = rng.exponential(10 + 60 * fraud)
table = np.stack([np.log(amount), night, np.log1p(last_hour), np.log1p(distance)], axis=1)
X = ((table - table.mean(axis=0)) / table.std(axis=0)).astype(np.float32)
rate = fraud.mean()


def init(key):
    k1, k2 = jax.random.split(key)
    return {
        "w1": jax.random.normal(k1, (4, 32)) / 2.0,
        "b1": jnp.zeros(32),
        "w2": jax.random.normal(k2, (32, 1)) * 0.05,
        "b2": jnp.full(1, float(np.log(rate / (1 - rate)))),
    }


def logit(params, x):
    hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
    return (hidden @ params["w2"] + params["b2"]).squeeze(-1)


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logit(params, x), y))


batches = [(X[i : i + 512], fraud[i : i + 512]) for i in range(0, N, 512)]
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "bad training data"}
