"""TD(0) without the mask of terminal states: the value of the first state of the next episode is added
to the last reward of each.

Source: Nikanjam et al. 2022 (faults in deep reinforcement learning), missing terminal state; GitHub navneet-nmk/pytorch-rl #2, seungeunrho/minimalRL #21, done not used in the target."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

N, GAMMA = 9, 0.98
RIGHT_END = N - 1


def value_net(obs):
    return hk.nets.MLP([32, 1], activation=jnp.tanh)(obs)[..., 0]


value = hk.without_apply_rng(hk.transform(value_net))


def loss_fn(params, batch):
    obs, reward, done, next_obs = batch
    v_next = value.apply(params, next_obs)
    target = reward + GAMMA * v_next
    td_error = jax.lax.stop_gradient(target) - value.apply(params, obs)
    return 0.5 * jnp.mean(td_error**2)


def metric(params):
    """RMSE to the true values of the random walk."""
    v = value.apply(params, jnp.eye(N, dtype=jnp.float32))
    return jnp.sqrt(jnp.mean((v - true_values) ** 2))


def rollout(rng, steps):
    """The environment resets itself: after the last step of an episode `next_obs` is a first one."""
    place, log = N // 2, []
    for _ in range(steps):
        new = place + rng.choice([-1, 1])
        done = new in (-1, N)
        log.append((place, float(new == N), float(done), N // 2 if done else new))
        place = log[-1][3]
    return [np.array(column) for column in zip(*log)]


walk = 0.5 * GAMMA * (np.eye(N, k=1) + np.eye(N, k=-1))
true_values = np.linalg.solve(np.eye(N) - walk, 0.5 * (np.arange(N) == RIGHT_END))

rng = np.random.default_rng(0)
s, r, d, s2 = rollout(rng, 4096)
one_hot = np.eye(N, dtype=np.float32)
transitions = one_hot[s], r.astype(np.float32), d.astype(np.float32), one_hot[s2]
batches = [tuple(part[i::16] for part in transitions) for i in range(16)]
params = value.init(jax.random.PRNGKey(0), one_hot)
optimizer = optax.adam(3e-3)

EXPECTED = {
    "fault": "wrong update rule",
    "source": "Nikanjam et al. 2022 (faults in deep reinforcement learning), missing terminal state; GitHub navneet-nmk/pytorch-rl #2, seungeunrho/minimalRL #21, done not used in the target",
    "cause": ["misdirected-credit", "wrong-target", "missing-terminal-mask", "unused-batch-part"],
    "symptom": ["loss-not-decreasing", "plateau", "diverging-loss"],
    "layer": [],
    "line": "GAMMA",
    "twin": "td_stops_at_the_end_of_an_episode",
}
