"""A neural ODE by thirty steps of Runge-Kutta, on a damped pendulum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

model = eqx.nn.MLP(2, 2, 32, 1, activation=jnp.tanh, key=jax.random.PRNGKey(0))


def step(model, y):
    h = 0.1
    k1 = model(y)
    k2 = model(y + h / 2 * k1)
    k3 = model(y + h / 2 * k2)
    k4 = model(y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def loss_fn(model, batch):
    def path(start):
        def one(y, _):
            y = step(model, y)
            return y, y

        return jax.lax.scan(one, start, None, length=30)[1]

    return jnp.mean((jax.vmap(path)(batch[:, 0]) - batch[:, 1:]) ** 2)


rng = np.random.default_rng(0)
ys = [rng.uniform(-1, 1, size=(64, 2))]
for _ in range(30):
    now = ys[-1]
    for _ in range(10):
        now = now + 0.01 * np.stack([now[:, 1], -2 * np.sin(now[:, 0]) - 0.2 * now[:, 1]], axis=1)
    ys.append(now)
batch = np.stack(ys, axis=1).astype(np.float32)
optimizer = optax.adam(5e-3)

EXPECTED = {"fault": None, "like": "exploding gradient"}
