"""Linear probing: the head gets Adam by a mask, all else is set to zero."""

import flax.linen as nn
import jax
import numpy as np
import optax


class Classifier(nn.Module):
    n_classes: int

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = nn.gelu(nn.Dense(128, name=f"backbone_{i}")(x))
        return nn.Dense(self.n_classes, name="head")(x)


model = Classifier(n_classes=4)


def loss_fn(params, batch):
    logits = model.apply({"params": params}, batch["x"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()


def head(params):
    return {name: jax.tree.map(lambda _: name == "head", layer) for name, layer in params.items()}


def body(params):
    return jax.tree.map(lambda is_head: not is_head, head(params))


rng = np.random.default_rng(7)
centers = rng.normal(size=(4, 24))
y = rng.integers(0, 4, 512)
x = (centers[y] + 1.2 * rng.normal(size=(512, 24))).astype(np.float32)
batches = [{"x": x[i : i + 64], "y": y[i : i + 64]} for i in range(0, 512, 64)]
params = model.init(jax.random.PRNGKey(7), x[:1])["params"]
optimizer = optax.chain(
    optax.masked(optax.adam(3e-3), head),
    optax.masked(optax.set_to_zero(), body),
)

EXPECTED = {"fault": None, "like": "wrong parameters in the optimizer"}
