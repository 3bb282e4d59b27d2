"""What stands around the lines that a rule's page shows: the least program in which each of them runs."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import jax

SHARED = """
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec as P

key = jax.random.key(0)
mesh = jax.make_mesh((1,), ("data",))
x = jax.random.normal(key, (32, 8))
y = x[:, 0]
w = jnp.eye(8)
params = {"w": w, "b": jnp.zeros(8)}
batch = x, y
batches = [batch]
optimizer = optax.adam(1e-2)
opt_state = optimizer.init(params)
norm = jax.nn.standardize
q = k = v = jnp.ones((2, 4, 6, 8))
scores = jnp.ones((2, 4, 6, 6))
width = 8
n = 6


def loss_fn(params, batch, *key):
    x, y = batch
    return jnp.mean(((x @ params["w"] + params["b"])[:, 0] - y) ** 2)


def layer(x):
    return jnp.tanh(x @ w)


grads = jax.grad(loss_fn)(params, batch)
updates = grads
"""
AROUND = {
    "attention-collapse": "images, q, k = jnp.ones((4, 8, 8, 3)), jnp.ones((6, 8)), jnp.ones((6, 8))",
    "batch-leak": """
logits, x, h = x, jnp.ones((5, 5, 3)), jnp.zeros((5, 3))
step = lambda h, x: (h + x, None)
""",
    "batch-not-overfitted": """
model = nn.Dense(1)
batch = {"x": x, "y": y[:, None]}
params = model.init(key, x)
""",
    "blocked-gradient": "layers, scores = [params] * 4, jnp.arange(5.0)",
    "broadcast-loss": 'h, params = x, {"w": jnp.ones((8, 1)), "b": jnp.zeros(1)}',
    "categories-as-numbers": """
user_id, movie_id, n_users, n_movies = jnp.arange(4), jnp.arange(4), 4, 4
users, movies = jnp.ones((4, 3)), jnp.ones((4, 3))
def mlp(x):
    return x @ jnp.ones((x.shape[-1], 1))
""",
    "collapsed-representations": """
h, mean_of_neighbours, params = x, jnp.ones((32, 32)), {"layers": [params]}
""",
    "conflicting-tasks": """
h, params = x, {"head": jnp.ones(8), "speed": jnp.ones(8), "comfort": jnp.ones(8)}
batch = {"speed": y, "comfort": y}
mse = lambda a, b: jnp.mean((a - b) ** 2)
""",
    "constant-data": "scores = np.array([0, 1, 2])",
    "constant-output": "w1 = w2 = w",
    "dead-loss-term": """
params, x, f = {"w": jnp.ones((1, 1)), "b": jnp.zeros(1)}, jnp.ones(4), jnp.sin
layer, h = params, jnp.ones((4, 1))
network = lambda params, x: jax.nn.relu(x * params["w"][0, 0] + params["b"][0])
""",
    "decayed-learning-rate": "steps_per_epoch = 100",
    "disconnected-parameter": 'params = dict.fromkeys(["encoder", "middle"], w) | {"head": w[:, 0]}',
    "diverged-replicas": "devices, shape, init = [jax.devices()[0]], (8,), lambda key: jnp.ones(8)",
    "dropout-too-high": "train = True",
    "exploding-activations": "x, params = jnp.ones((4, 256)), [jnp.ones((256, 256))]",
    "exploding-through-time": "h, x, u = jnp.ones((4, 64)), jnp.ones((4, 3)), jnp.ones((3, 64))",
    "imbalanced-labels": """
labels, logits, weights = np.arange(32) % 2, x, jnp.array([1.0, 30.0])
cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
""",
    "ignored-input": "x, model = jnp.ones((4, 10)), jnp.tanh",
    "index-out-of-range": "tokens = labels = jnp.arange(1, 5)",
    "invisible-update": "model = lambda params, x: x @ params['w']",
    "isolated-branch": "a, x = jnp.array(1.0), jnp.arange(3.0)",
    "leaked-target": """
np.savetxt("churn.csv", np.ones((4, 8)), delimiter=",", header="a,b,c,d,e,f,g,h")
tokens, model, loss = jnp.ones((2, 6)), jnp.tanh, lambda a, b: jnp.mean((a - b) ** 2)
""",
    "linear-network": "w1, b1, w2, b2 = w, jnp.zeros(8), w, jnp.zeros(8)",
    "local-norm": "state = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)).init(params)",
    "lost-gradient": "b = jnp.zeros(8)",
    "memory-over-limit": 'params, block = {"layers": [w]}, lambda w, x: x @ w',
    "misdirected-credit": """
rewards, next_states, q_taken = jnp.ones(32), x, jnp.ones(32)
q = lambda params, states: states @ params["w"]
""",
    "mismatched-output": 'h, labels, params = x, jnp.arange(32) % 3, {"out": jnp.ones((8, 3))}',
    "missing-positions": """
tokens_table, positions_table, tokens = jnp.ones((50, 8)), jnp.ones((6, 8)), jnp.ones((4, 6), int)
attention = lambda params, x: x @ params["w"]
""",
    "missing-bias": 'params = {"hidden": w, "out": w, "b": jnp.zeros(8)}',
    "missing-residual": "blocks = [layer]",
    "non-finite": "y = x",
    "normalized-away": "h = jnp.ones((4, 6, 8))",
    "not-updated": "restored = opt_state",
    "one-key-attention": """
batch, examples, length, features = jnp.ones((4, 8)), 4, 2, 4
attention = lambda x: jax.nn.softmax(x @ x.swapaxes(1, 2)) @ x
""",
    "padding-leak": """
batch, params = {"tokens": jnp.ones((4, 6), int), "mask": jnp.ones((4, 6))}, {"head": jnp.ones((8, 2))}
encoder = lambda params, tokens: jnp.ones((*tokens.shape, 8))
""",
    "partly-dead-weights": """
qkv = jnp.ones((8, 24))
attention = lambda q, k, v: jnp.ones((4, 6, 8))
""",
    "repeated-noise": "denoise = lambda params, x: x @ params['w']",
    "reshape-for-transpose": "x, wq, batch, heads, steps, width = jnp.ones((2, 6, 8)), w, 2, 4, 6, 2",
    "returned-messages": "nodes, senders, receivers = x, jnp.array([0, 1]), jnp.array([1, 2])",
    "rounded-input": "hours = jnp.arange(24.0)",
    "saturated-units": "x = jnp.ones((4, 256))",
    "scaled-gradient": "rows = batch",
    "shard-dependent-loss": "h, errors, mask = x, y, jnp.ones(32)",
    "state-not-carried": "start, cell = jnp.zeros(8), lambda x, state: jnp.tanh(x + state)",
    "summed-loss": "predict = lambda params, x: x[:, 0]",
    "unbalanced-experts": "p, experts, task_loss = jax.nn.softmax(x), 8, 1.0",
    "unbalanced-loss-terms": "z, decode, logvar, mean = x, lambda z: z, jnp.zeros((32, 8)), x",
    "unexpected-initial-loss": "logits, one_hot = x, jnp.eye(8)[jnp.zeros(32, int)]",
    "unnormalized-input": """
images, mean, std, medians = np.ones((4, 8, 8), np.uint8), 120.0, 60.0, np.zeros(8)
""",
    "unreduced-shard": "loss = loss_fn",
    "unscaled-attention": "q = k = jnp.ones((6, 8))",
    "unscaled-target": "prices = np.array([8e4, 9e5])",
    "unstable-expression": "logits, rows, labels = x, jnp.arange(32), jnp.zeros(32, int)",
    "unverifiable-gradient": """
shape, model = jax.ShapeDtypeStruct((), np.float32), lambda params, x: x @ params["w"][:, 0]
""",
    "vanishing-activations": "x, params = jnp.ones((4, 256)), [jnp.ones((256, 256))]",
    "vanishing-gradient": "params = [w]",
    "vanishing-through-time": "h, u, uf, wf, c, candidate = jnp.zeros((32, 8)), w, w, w, x, x",
    "width-dependent-updates": 'h, params, labels = x, {"leave": w}, {"leave": "hidden"}',
    "wrong-attention-axis": "q = k = v = jnp.ones((6, 8))",
    "wrong-mode": """
model, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(8, "batch", mode="batch")
""",
}
"""What a page's lines name beside `SHARED`."""
OVER_DEVICES = {
    "frozen-shard": "stage",
    "local-norm": "model",
    "scaled-gradient": "data",
    "shard-dependent-loss": "data",
    "shared-noise": "data",
    "summed-loss": "data",
}
"""Pages whose lines run on each of several devices, by the name of their axis."""
IN_A_MODULE = {"dropout-too-high"}
"""In `__call__` of a module of Flax."""
WITH_NUMBERS = {"diverged-replicas"}
"""An array of arrays that lie on devices cannot be traced."""


def trace(rule: str, shown: list[str]) -> None:
    """The blocks of a page from its top to its bottom, as `jax.jit` does: nothing is compiled."""

    def whole(_: object = None) -> None:
        names: dict[str, Any] = {"__name__": "page"}
        exec(SHARED + AROUND.get(rule, ""), names)
        for block in shown:
            exec(compile(returned_to_a_name(block), f"{rule}.md", "exec"), names)

    if rule in OVER_DEVICES:
        whole = jax.vmap(whole, axis_name=OVER_DEVICES[rule], axis_size=2, in_axes=None)
    if rule in IN_A_MODULE:
        whole = in_a_module(whole)
    if rule in WITH_NUMBERS:
        whole()
    else:
        jax.eval_shape(whole)


def in_a_module(body: Callable[[], None]) -> Callable[[], None]:
    from flax import linen as nn

    class Network(nn.Module):
        @nn.compact
        def __call__(self) -> None:
            body()

    keys = dict.fromkeys(("params", "dropout"), jax.random.key(0))
    return lambda: Network().init(keys) and None


def returned_to_a_name(block: str) -> ast.Module:
    """A function's last lines by themselves: what it gives back is given a name."""
    tree = ast.parse(block)
    tree.body = [
        ast.copy_location(ast.Assign([ast.Name("returned", ast.Store())], statement.value), statement)
        if isinstance(statement, ast.Return) and statement.value is not None
        else statement
        for statement in tree.body
    ]
    return ast.fix_missing_locations(tree)
