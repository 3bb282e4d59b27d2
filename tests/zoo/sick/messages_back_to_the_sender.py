"""Messages are summed by their senders: each node gets its own features back.

Source: GitHub, edge_index direction reversed (PyTorch Geometric, GraphGym #26 on the flow of messages); Humbatova et al. 2020, wrong network architecture."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

N_NODES, N_EDGES, N_FEATURES, N_CLASSES = 1000, 3000, 8, 3


def glorot(key, n_in, n_out):
    return jax.random.normal(key, (n_in, n_out)) * np.sqrt(2 / (n_in + n_out))


def init_params(key, hidden=32):
    ks = jax.random.split(key, 4)
    return {
        "sage": {
            "self": glorot(ks[0], N_FEATURES, hidden),
            "neighbours": glorot(ks[1], N_FEATURES, hidden),
            "bias": jnp.zeros(hidden),
        },
        "hidden": {"w": glorot(ks[2], hidden, hidden), "b": jnp.zeros(hidden)},
        "readout": {"w": glorot(ks[3], hidden, N_CLASSES), "b": jnp.zeros(N_CLASSES)},
    }


def aggregate(nodes, senders, receivers):
    """The mean of what comes in."""
    total = jax.ops.segment_sum(nodes[senders], senders, N_NODES)
    degree = jax.ops.segment_sum(jnp.ones(len(senders)), receivers, N_NODES)
    return total / jnp.maximum(degree, 1)[:, None]


def forward(params, graph):
    x = graph["nodes"]
    p = params["sage"]
    x = jax.nn.relu(
        x @ p["self"] + aggregate(x, graph["senders"], graph["receivers"]) @ p["neighbours"] + p["bias"]
    )
    x = jax.nn.relu(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return x @ params["readout"]["w"] + params["readout"]["b"]


def loss_fn(params, graph):
    return masked_nll(params, graph, graph["train_mask"])


def masked_nll(params, graph, mask):
    logits = forward(params, graph)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, graph["labels"])
    return jnp.sum(nll * mask) / jnp.sum(mask)


def metric(params):
    return masked_nll(params, batch, 1 - batch["train_mask"])


rng = np.random.default_rng(0)
nodes = rng.normal(size=(N_NODES, N_FEATURES)).astype(np.float32)
senders = rng.integers(0, N_NODES, N_EDGES)
receivers = rng.integers(0, N_NODES, N_EDGES)  # a few nodes are cited by nobody
incoming = np.zeros_like(nodes)
np.add.at(incoming, receivers, nodes[senders])
incoming /= np.maximum(np.bincount(receivers, minlength=N_NODES), 1)[:, None]
labels = np.argmax(
    2 * incoming @ rng.normal(size=(N_FEATURES, N_CLASSES)) + 0.2 * nodes[:, :N_CLASSES], axis=1
)
batch = {
    "nodes": nodes,
    "senders": senders,
    "receivers": receivers,
    "labels": labels,
    "train_mask": (rng.random(N_NODES) < 0.8).astype(np.float32),
}
params = init_params(jax.random.PRNGKey(0))
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong network architecture",
    "source": "GitHub, edge_index direction reversed (PyTorch Geometric, GraphGym #26 on the flow of messages); Humbatova et al. 2020, wrong network architecture",
    "cause": ["returned-messages"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "segment_sum",
    "twin": "citations_to_the_receiver",
}
