"""The critic starts at zero and rewards are standardized within the batch, in PPO with its ratio."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "torso": jax.random.normal(k1, (4, 32)) / 2,
        "actor": 0.01 * jax.random.normal(k2, (32, 3)),
        "critic": jnp.zeros((32, 1)),
    }


def loss_fn(params, batch):
    states, actions, old_log_p, returns = batch
    h = jnp.tanh(states @ params["torso"])
    log_p = jnp.take_along_axis(jax.nn.log_softmax(h @ params["actor"]), actions[:, None], axis=1)[:, 0]
    value = (h @ params["critic"])[:, 0]
    advantage = jax.lax.stop_gradient(returns - value)
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    ratio = jnp.exp(log_p - old_log_p)
    surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
    return -surrogate.mean() + 0.5 * jnp.mean((returns - value) ** 2)


def metric(params):
    p = jax.nn.softmax(jnp.tanh(states @ params["torso"]) @ params["actor"])
    return 1 - jnp.mean(jnp.take_along_axis(p, best[:, None], axis=1))


rng = np.random.default_rng(0)
states = rng.normal(size=(512, 4)).astype(np.float32)
best = np.argmax(states @ rng.normal(size=(4, 3)), axis=1)
actions = rng.integers(0, 3, 512)
returns = (actions == best).astype(np.float32)
batch = states, actions, np.full(512, np.log(1 / 3), np.float32), returns
optimizer = optax.adam(3e-3)

EXPECTED = {"fault": None, "like": "dying ReLU"}
