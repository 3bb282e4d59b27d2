"""An actor and a critic on one body, from episodes on a windy grid (Haiku). Healthy.

The critic's output loses its last axis before it is compared with the returns. The twin of
`actor_critic_pairs.py`.
"""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

SIDE, EPISODES, STEPS, DISCOUNT = 6, 48, 24, 0.95
MOVES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])
GOAL = np.array([4, 4])


def network(place):
    h = jax.nn.relu(hk.Linear(64, w_init=hk.initializers.VarianceScaling(2.0), name="body")(place))
    return hk.Linear(len(MOVES), name="actor")(h), hk.Linear(1, name="critic")(h)


model = hk.without_apply_rng(hk.transform(network))


def loss_fn(params, batch):
    place, action, outcome = batch
    logits, value = model.apply(params, place)
    advantage = outcome - value[:, 0]
    log_pi = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], axis=1)[:, 0]
    actor = -jnp.mean(log_pi * jax.lax.stop_gradient(advantage))
    critic = jnp.mean(jnp.square(advantage))
    entropy = -jnp.mean(jnp.sum(jax.nn.softmax(logits) * jax.nn.log_softmax(logits), axis=1))
    return actor + 0.5 * critic - 0.01 * entropy, {"actor": actor, "critic": critic, "entropy": entropy}


def episodes():
    """A walk without a policy yet: 1 at the goal, -0.04 a step, and in a step of six a wind along x."""
    rng = np.random.default_rng(0)
    at = rng.integers(0, SIDE, (EPISODES, 2))
    places, actions, rewards, over = [], [], [], np.zeros(EPISODES, bool)
    for _ in range(STEPS):
        action = rng.integers(0, len(MOVES), EPISODES)
        wind = np.where(rng.random(EPISODES) < 1 / 6, 1, 0)[:, None] * np.array([1, 0])
        places.append(at)
        actions.append(action)
        at = np.clip(at + MOVES[action] + wind, 0, SIDE - 1)
        there = (at == GOAL).all(axis=1) & ~over
        rewards.append(np.where(over, 0, there - 0.04))
        over |= there
    returns = np.zeros((STEPS, EPISODES))
    running = np.zeros(EPISODES)
    for t in reversed(range(STEPS)):
        running = returns[t] = rewards[t] + DISCOUNT * running
    x, y = np.concatenate(places).T
    place = np.concatenate([np.eye(SIDE)[x], np.eye(SIDE)[y]], axis=1)
    return place.astype(np.float32), np.concatenate(actions), returns.reshape(-1).astype(np.float32)


batch = episodes()
optimizer = optax.adam(3e-3)
