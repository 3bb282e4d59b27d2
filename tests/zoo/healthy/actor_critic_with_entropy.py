"""An actor-critic loss with an entropy bonus: its value may rise while the policy gets better."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "torso": {"w": jax.random.normal(k1, (4, 32)) / 2, "b": jnp.zeros(32)},
        "actor": {"w": 0.01 * jax.random.normal(k2, (32, 3)), "b": jnp.zeros(3)},
        "critic": {"w": jax.random.normal(k3, (32, 1)) / 6, "b": jnp.zeros(1)},
    }


def dense(layer, x):
    return x @ layer["w"] + layer["b"]


def loss_fn(params, batch, key):
    states, best = batch
    h = jnp.tanh(dense(params["torso"], states))
    logits, value = dense(params["actor"], h), dense(params["critic"], h)[:, 0]
    actions = jax.random.categorical(key, jax.lax.stop_gradient(logits))
    rewards = (actions == best).astype(jnp.float32)
    log_p = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(log_p, actions[:, None], axis=1)[:, 0]
    advantage = jax.lax.stop_gradient(rewards - value)
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=1).mean()
    return -jnp.mean(advantage * chosen) + 0.5 * jnp.mean((rewards - value) ** 2) - 0.01 * entropy


def metric(params):
    p = jax.nn.softmax(dense(params["actor"], jnp.tanh(dense(params["torso"], states))))
    return 1 - jnp.mean(jnp.take_along_axis(p, best[:, None], axis=1))


rng = np.random.default_rng(0)
states = rng.normal(size=(256, 4)).astype(np.float32)
best = np.argmax(states @ rng.normal(size=(4, 3)), axis=1)
batch = states, best
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "wrong sign"}
