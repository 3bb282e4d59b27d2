"""Fine-tuning with frozen BatchNorm statistics, which were computed from the data."""

import flax.linen as nn
import jax
import numpy as np
import optax


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        for _ in range(2):
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.0)(nn.Dense(64)(x)))
        return nn.Dense(3)(x)


model = Net()


def loss_fn(params, batch):
    x, labels = batch
    logits = model.apply({"params": params, "batch_stats": stats}, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
x = 5 + 10 * x
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
variables = model.init(jax.random.PRNGKey(0), x)
params = variables["params"]
stats = model.apply(variables, x, train=True, mutable=["batch_stats"])[1]["batch_stats"]
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "wrong mode"}
