"""Q-learning with a frozen target network in the batch, Huber loss and a masked bootstrap."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


def q_values(states):
    return hk.nets.MLP([64, 64, 3])(states)


net = hk.without_apply_rng(hk.transform(q_values))


def loss_fn(params, batch):
    q = jnp.take_along_axis(net.apply(params, batch["s"]), batch["a"][:, None], axis=1)[:, 0]
    next_q = net.apply(batch["target"], batch["s2"]).max(axis=1)
    aim = batch["r"] + 0.9 * (1 - batch["done"]) * next_q
    return optax.huber_loss(q, jax.lax.stop_gradient(aim)).mean()


rng = np.random.default_rng(0)
s = rng.normal(size=(256, 4)).astype(np.float32)
a = rng.integers(0, 3, 256)
r = (np.argmax(s @ rng.normal(size=(4, 3)), axis=1) == a).astype(np.float32)
params = net.init(jax.random.PRNGKey(0), s)
batch = {
    "s": s,
    "a": a,
    "r": r,
    "s2": rng.normal(size=(256, 4)).astype(np.float32),
    "done": (rng.random(256) < 0.5).astype(np.float32),
    "target": net.init(jax.random.PRNGKey(1), s),
}
optimizer = optax.adam(1e-3)

EXPECTED = {"fault": None, "like": "loss without a gradient"}
