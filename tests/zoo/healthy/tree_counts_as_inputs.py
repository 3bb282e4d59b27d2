"""Counts up to 50, taken as they are by a network with a batch norm at its entrance."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(x)
        for _ in range(2):
            x = nn.relu(nn.Dense(32)(x))
        return nn.Dense(1)(x)[:, 0]


model = Net()


def loss_fn(params, batch):
    x, y = batch
    rates, _ = model.apply({"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"])
    return jnp.mean(jnp.exp(rates) - y * rates)


def metric(params):
    rates, _ = model.apply({"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"])
    return jnp.mean((rates - log_rate) ** 2)


rng = np.random.default_rng(0)
x = rng.poisson(20, size=(512, 5)).astype(np.float32)
log_rate = ((x[:, 0] - 20) / 5 + (x[:, 1] > 20)) / 2
y = rng.poisson(np.exp(log_rate)).astype(np.float32)
data = x, y
variables = model.init(jax.random.PRNGKey(0), x, train=True)
params, stats = variables["params"], variables["batch_stats"]
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "missing preprocessing"}
