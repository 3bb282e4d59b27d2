"""A temporal convolution network with growing dilations, for a time series."""

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


class Net(nnx.Module):
    def __init__(self, rngs):
        self.convs = nnx.List(
            [
                nnx.Conv(1 if d == 1 else 16, 16, (3,), kernel_dilation=d, padding="CAUSAL", rngs=rngs)
                for d in (1, 2, 4, 8)
            ]
        )
        self.out = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x):
        for i, conv in enumerate(self.convs):
            h = nnx.relu(conv(x))
            x = h if i == 0 else x + h
        return self.out(x)


model = Net(nnx.Rngs(0))


def loss_fn(model, batch):
    guess = model(batch[:, :-1])
    return jnp.mean((guess - batch[:, 1:]) ** 2)


rng = np.random.default_rng(0)
time = np.arange(60) + rng.uniform(0, 50, (64, 1))
series = np.sin(time / 3) + 0.5 * np.sin(time / 1.7) + 0.05 * rng.normal(size=(64, 60))
batch = series[..., None].astype(np.float32)
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "vanishing gradient"}
