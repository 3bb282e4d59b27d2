"""The policy gradient descends the reward.

Source: Nikanjam et al. 2022 (faults in deep reinforcement learning), wrong update rule."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key):
    return {"w": 0.1 * jax.random.normal(key, (4, 3)), "b": jnp.zeros(3)}


def loss_fn(params, batch, key):
    states, best = batch
    logits = states @ params["w"] + params["b"]
    action = jax.random.categorical(key, jax.lax.stop_gradient(logits))
    reward = (action == best).astype(jnp.float32)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], axis=1)[:, 0]
    return jnp.mean((reward - reward.mean()) * log_p)


def metric(params):
    """Share of lost rewards."""
    p = jax.nn.softmax(batch[0] @ params["w"] + params["b"])
    return 1 - jnp.mean(jnp.take_along_axis(p, batch[1][:, None], axis=1))


rng = np.random.default_rng(0)
states = rng.normal(size=(256, 4)).astype(np.float32)
batch = states, np.argmax(states @ rng.normal(size=(4, 3)), axis=1)
optimizer = optax.adam(1e-2)

EXPECTED = {
    "fault": "wrong sign",
    "source": "Nikanjam et al. 2022 (faults in deep reinforcement learning), wrong update rule",
    "cause": ["misdirected-credit", "wrong-sign"],
    "symptom": ["diverging-loss", "loss-not-decreasing"],
    "layer": [],
    "line": "",
    "twin": "reinforce_right_sign",
}
