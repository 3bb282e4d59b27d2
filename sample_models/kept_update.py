"""A training step that keeps what `optax.apply_updates` returns: the healthy twin of `lost_update.py`."""

import jax
import jax.numpy as jnp
import optax


def init(key):
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (6, 32)) / 6**0.5,
        "bias": jnp.zeros(32),
        "out": jax.random.normal(second, (32, 1)) / 32**0.5,
    }


def loss_fn(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["hidden"] + params["bias"]) @ params["out"] - y) ** 2)


def batches():
    x = jax.random.normal(jax.random.PRNGKey(1), (256, 6))
    y = jnp.sin(x.sum(1, keepdims=True))
    for start in range(0, 256, 64):
        yield x[start : start + 64], y[start : start + 64]


optimizer = optax.adam(1e-2)


@jax.jit
def train_step(params, opt_state, batch):
    loss, grads = jax.value_and_grad(loss_fn)(params, batch)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    return params, opt_state, loss


if __name__ == "__main__":
    params = init(jax.random.PRNGKey(0))
    opt_state = optimizer.init(params)
    for epoch in range(50):
        for batch in batches():
            params, opt_state, loss = train_step(params, opt_state, batch)
        print(epoch, loss)
