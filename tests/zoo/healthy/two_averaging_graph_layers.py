"""Two of them."""

import jax
import numpy as np
import optax

LAYERS = 2


def init(key):
    keys = jax.random.split(key, LAYERS + 1)
    glorot = jax.nn.initializers.glorot_normal()
    layers = [glorot(k, (16, 16)) for k in keys[1:]]
    return {"layers": layers, "out": glorot(keys[0], (16, 2))}


def loss_fn(params, batch):
    adjacency, features, labels = batch
    h = features
    for w in params["layers"]:
        h = jax.nn.relu(adjacency @ h @ w)
    return optax.softmax_cross_entropy_with_integer_labels(h @ params["out"], labels).mean()


rng = np.random.default_rng(0)
labels = np.repeat([0, 1], 60)
same = labels[:, None] == labels
edges = np.triu(rng.random((120, 120)) < np.where(same, 0.15, 0.05), 1)
edges = edges | edges.T | np.eye(120, dtype=bool)
degree = edges.sum(axis=1) ** -0.5
features = (rng.normal(size=(2, 16))[labels] * 0.5 + rng.normal(size=(120, 16))).astype(np.float32)
batch = (degree[:, None] * edges * degree).astype(np.float32), features, labels
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "oversmoothing"}
