"""The discounted sum runs forward: an action is credited with the rewards before it.

Source: Nikanjam et al. 2022 (faults in deep reinforcement learning), wrong calculation of rewards; Irpan 2018; Stack Overflow, discounted rewards summed in the wrong direction."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

HORIZON, OBS, ACTIONS = 10, 6, 4
GAMMA = 0.7
ENTROPY_COEF = 0.01


def init_params(key):
    k1, k2 = jax.random.split(key)
    return {
        "torso": {"w": jax.random.normal(k1, (OBS, 32)) / np.sqrt(OBS), "b": jnp.zeros(32)},
        "policy": {"w": 0.01 * jax.random.normal(k2, (32, ACTIONS)), "b": jnp.zeros(ACTIONS)},
    }


def log_policy(params, obs):
    h = jnp.tanh(obs @ params["torso"]["w"] + params["torso"]["b"])
    return jax.nn.log_softmax(h @ params["policy"]["w"] + params["policy"]["b"])


def discounted_returns(rewards):
    def add(later, reward):
        total = reward + GAMMA * later
        return total, total

    _, returns = jax.lax.scan(add, jnp.zeros(rewards.shape[0]), rewards.T)
    return returns.T


def loss_fn(params, batch):
    log_pi = log_policy(params, batch["obs"])
    taken = jnp.take_along_axis(log_pi, batch["action"][..., None], axis=-1)[..., 0]
    returns = discounted_returns(batch["reward"])
    advantage = (returns - returns.mean()) / (returns.std() + 1e-8)
    entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, axis=-1).mean()
    return -jnp.mean(taken * advantage) - ENTROPY_COEF * entropy


def metric(params):
    """The probability of a wrong action."""
    p = jnp.exp(log_policy(params, episodes["obs"]))
    return 1 - jnp.mean(jnp.take_along_axis(p, best[..., None], axis=-1))


rng = np.random.default_rng(5)
obs = rng.normal(size=(256, HORIZON, OBS)).astype(np.float32)
best = np.argmax(obs @ rng.normal(size=(OBS, ACTIONS)), axis=-1)
action = rng.integers(0, ACTIONS, best.shape)
# The reward of an action comes one step later.
reward = np.roll(action == best, 1, axis=1).astype(np.float32)
reward[:, 0] = 0
episodes = {"obs": obs, "action": action, "reward": reward}
batch = episodes
params = init_params(jax.random.PRNGKey(5))
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong update rule",
    "source": "Nikanjam et al. 2022 (faults in deep reinforcement learning), wrong calculation of rewards; Irpan 2018; Stack Overflow, discounted rewards summed in the wrong direction",
    "cause": ["misdirected-credit", "wrong-target", "misaligned-labels"],
    "symptom": ["loss-not-decreasing", "plateau"],
    "layer": [],
    "line": "scan",
    "twin": "delayed_reward_by_returns_to_go",
}
