"""REINFORCE with rewards that are zero for most of the batches, so that a step often does nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    return {"w": 0.01 * jax.random.normal(key, (6, 4)), "b": jnp.zeros(4)}


def loss_fn(params, batch):
    states, actions, rewards = batch
    log_p = jax.nn.log_softmax(states @ params["w"] + params["b"])
    return -jnp.mean(rewards * jnp.take_along_axis(log_p, actions[:, None], axis=1)[:, 0])


def metric(params):
    p = jax.nn.softmax(all_states @ params["w"] + params["b"])
    return 1 - jnp.mean(jnp.take_along_axis(p, best[:, None], axis=1))


rng = np.random.default_rng(0)
all_states = rng.normal(size=(1024, 6)).astype(np.float32)
best = np.argmax(all_states @ rng.normal(size=(6, 4)), axis=1)
actions = rng.integers(0, 4, 1024)
rewards = ((actions == best) & (rng.random(1024) < 0.2)).astype(np.float32)
batches = [(all_states[i : i + 16], actions[i : i + 16], rewards[i : i + 16]) for i in range(0, 1024, 16)]
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "dying ReLU"}
