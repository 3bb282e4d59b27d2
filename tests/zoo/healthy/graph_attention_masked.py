"""Graph attention over a sparse graph: most scores are masked with -1e9."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    ks = jax.random.split(key, 4)
    glorot = jax.nn.initializers.glorot_normal()
    return {
        "w": glorot(ks[0], (16, 32)),
        "source": glorot(ks[1], (32, 1)),
        "target": glorot(ks[2], (32, 1)),
        "out": glorot(ks[3], (32, 2)),
    }


def loss_fn(params, batch):
    edges, features, labels = batch
    h = features @ params["w"]
    scores = jax.nn.leaky_relu(h @ params["source"] + (h @ params["target"]).T, 0.2)
    weights = jax.nn.softmax(jnp.where(edges, scores, -1e9), axis=1)
    logits = jax.nn.elu(weights @ h) @ params["out"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


rng = np.random.default_rng(0)
labels = np.repeat([0, 1], 60)
same = labels[:, None] == labels
edges = np.triu(rng.random((120, 120)) < np.where(same, 0.1, 0.01), 1)
edges = edges | edges.T | np.eye(120, dtype=bool)
features = (0.7 * rng.normal(size=(2, 16))[labels] + rng.normal(size=(120, 16))).astype(np.float32)
batch = edges, features, labels
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "wrong attention mask"}
