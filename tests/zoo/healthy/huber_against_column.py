"""The Q-value is squeezed."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax


class Critic(nn.Module):
    @nn.compact
    def __call__(self, states, actions):
        x = jnp.concatenate([states, actions], axis=-1)
        x = nn.relu(nn.Dense(64)(x))
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(1)(x).squeeze(-1)


critic = Critic()


def loss_fn(params, batch):
    q = critic.apply(params, batch["states"], batch["actions"])
    return optax.huber_loss(q, batch["returns"]).mean()


def metric(params):
    q = critic.apply(params, states, actions).reshape(-1)
    return jnp.mean((q - returns) ** 2)


rng = np.random.default_rng(0)
states = rng.normal(size=(128, 4)).astype(np.float32)
actions = rng.uniform(-1, 1, size=(128, 2)).astype(np.float32)
returns = (states[:, 0] * 2 - np.abs(actions).sum(axis=1) + states[:, 1] * actions[:, 0]).astype(np.float32)
batch = {"states": states, "actions": actions, "returns": returns}
params = critic.init(jax.random.PRNGKey(0), states, actions)
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "wrong shape of the target"}
