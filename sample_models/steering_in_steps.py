"""A car learns to stay in its lane by driving in a simulator that can be differentiated (Equinox).

Sick: the actuator turns the wheels in whole degrees, and the derivative of rounding is 0 everywhere: the
controller hears nothing of where the car goes. Remedy: hand back the gradient of the angle before it was
rounded, as in `steering_straight_through.py`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

STEPS, DT, SPEED, WHEELBASE = 40, 0.1, 8.0, 2.7
DEGREE = jnp.pi / 180
LIMIT, NOTCH = 10.0, 1.0
"""Degrees: how far the wheels turn, and how finely."""


class Controller(eqx.Module):
    hidden: eqx.nn.Linear
    steer: eqx.nn.Linear

    def __init__(self, key):
        k_hidden, k_steer = jax.random.split(key)
        self.hidden = eqx.nn.Linear(3, 32, key=k_hidden)
        self.steer = eqx.nn.Linear(32, 1, key=k_steer)

    def __call__(self, seen):
        return LIMIT * jnp.tanh(self.steer(jnp.tanh(self.hidden(seen)))[0])


def actuator(degrees):
    return NOTCH * jnp.round(degrees / NOTCH)


def drive(controller, start, bends):
    """Offset from the middle of the lane [m] and heading against it [rad] at each step."""

    def step(state, bend):
        offset, heading = state
        angle = actuator(controller(jnp.stack([offset, 5 * heading, 20 * bend]))) * DEGREE
        offset = offset + DT * SPEED * jnp.sin(heading)
        heading = heading + DT * SPEED * (jnp.tan(angle) / WHEELBASE - bend)
        return (offset, heading), (offset, heading)

    _, path = jax.lax.scan(step, (start[0], start[1]), bends)
    return path


def loss_fn(controller, batch):
    offset, heading = jax.vmap(drive, in_axes=(None, 0, 0))(controller, *batch)
    return jnp.mean(jnp.square(offset)) + jnp.mean(jnp.square(heading))


def roads(size=32):
    """Where each drive starts, and the curvature [1/m] of its road, bend after bend."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(size, 2)) * np.array([0.5, 0.05])
    bends = np.repeat(rng.uniform(-0.02, 0.02, (size, 4)), STEPS // 4, axis=1)
    return start.astype(np.float32), bends.astype(np.float32)


model = Controller(jax.random.PRNGKey(0))
batch = roads()
optimizer = optax.adam(1e-2)
