"""BatchNorm uses the statistics of the batch."""

import flax.linen as nn
import jax
import numpy as np
import optax


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        for _ in range(4):
            x = nn.Dense(64)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        return nn.Dense(3)(x)


model = Net()


def loss_fn(params, batch):
    x, labels = batch
    variables = {"params": params, "batch_stats": stats}
    logits, _ = model.apply(variables, x, train=True, mutable=["batch_stats"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 16)).astype(np.float32)
labels = np.argmax(np.tanh(x @ rng.normal(size=(16, 8))) @ rng.normal(size=(8, 3)), axis=1)
x = 20 + 30 * x
batches = [(x[i : i + 64], labels[i : i + 64]) for i in range(0, 256, 64)]
variables = model.init(jax.random.PRNGKey(0), x, train=True)
params, stats = variables["params"], variables["batch_stats"]
optimizer = optax.sgd(0.1)

EXPECTED = {"fault": None, "like": "wrong mode"}
