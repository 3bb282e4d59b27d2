"""Six graph layers add up dense neighborhoods without dividing by the degree.

Source: Kipf & Welling 2017 on normalized adjacency; Humbatova et al. 2020, missing normalisation layer."""

import jax
import numpy as np
import optax


def init(key):
    keys = jax.random.split(key, 7)
    glorot = jax.nn.initializers.he_normal()
    return [
        {"w": glorot(k, (16, 16)), "self": glorot(jax.random.fold_in(k, 1), (16, 16)) / 1.4} for k in keys[:6]
    ] + [{"w": glorot(keys[6], (16, 2))}]


def loss_fn(params, batch):
    adjacency, features, labels = batch
    h = features
    for layer in params[:-1]:
        h = jax.nn.relu(adjacency @ h @ layer["w"] + h @ layer["self"])
    return optax.softmax_cross_entropy_with_integer_labels(h @ params[-1]["w"], labels).mean()


rng = np.random.default_rng(0)
labels = np.repeat([0, 1], 60)
same = labels[:, None] == labels
edges = np.triu(rng.random((120, 120)) < np.where(same, 0.5, 0.1), 1)
adjacency = (edges | edges.T).astype(np.float32)
features = (rng.normal(size=(2, 16))[labels] * 0.3 + rng.normal(size=(120, 16))).astype(np.float32)
batch = adjacency, features, labels
optimizer = optax.sgd(0.05)

EXPECTED = {
    "fault": "missing normalization",
    "source": "Kipf & Welling 2017 on normalized adjacency; Humbatova et al. 2020, missing normalisation layer",
    "cause": ["exploding-gradient"],
    "symptom": [
        "learning-rate-too-high",
        "diverging-loss",
        "oscillating-loss",
        "loss-spike",
        "collapsed-representations",
        "lost-gradient",
        "loss-not-decreasing",
    ],
    "layer": [],
    "line": "",
    "twin": "graph_mean_by_degree",
}
