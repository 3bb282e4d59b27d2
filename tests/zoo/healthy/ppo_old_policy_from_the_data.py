"""It comes with the data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2 = jax.random.split(key)
    return {"actor": 0.1 * jax.random.normal(k1, (4, 3)), "critic": 0.1 * jax.random.normal(k2, (4, 1))}


def log_prob(params, states, actions):
    return jnp.take_along_axis(jax.nn.log_softmax(states @ params["actor"]), actions[:, None], axis=1)[:, 0]


def loss_fn(params, batch):
    states, actions, old_log_p, rewards = batch
    value = (states @ params["critic"])[:, 0]
    advantage = jax.lax.stop_gradient(rewards - value)
    log_p = log_prob(params, states, actions)
    ratio = jnp.exp(log_p - old_log_p)
    clipped = jnp.clip(ratio, 0.8, 1.2)
    policy_loss = -jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))
    return policy_loss + 0.5 * jnp.mean((rewards - value) ** 2)


def metric(params):
    p = jax.nn.softmax(states @ params["actor"])
    return 1 - jnp.mean(jnp.take_along_axis(p, best[:, None], axis=1))


rng = np.random.default_rng(0)
states = rng.normal(size=(512, 4)).astype(np.float32)
best = np.argmax(states @ rng.normal(size=(4, 3)), axis=1)
actions = rng.integers(0, 3, 512)
rewards = (actions == best).astype(np.float32)
batch = states, actions, np.full(512, np.log(1 / 3), np.float32), rewards
optimizer = optax.adam(1e-2)

EXPECTED = {"fault": None, "like": "wrong update rule"}
