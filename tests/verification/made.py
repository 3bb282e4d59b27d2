"""Small networks with everything that is hard about checking a gradient, and what `verify` says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradscope.load.problem import Problem
from gradscope.records import GradientCheck, Verdict
from gradscope.verification.verify import Verified, verify

Act = Callable[[Any], Any]
RIGHT, WRONG, UNSURE = Verdict.RIGHT, Verdict.WRONG, Verdict.CANNOT_JUDGE


def run(problem: Problem, **options: Any) -> Verified:
    return verify(problem, progress=lambda stage: None, **options)


def verdicts(problem: Problem, **options: Any) -> dict[str, GradientCheck]:
    return {check.parameter: check for check in run(problem, **options).gradients}


def normal(rng: np.random.Generator, *shape: int, scale: float | None = None) -> np.ndarray:
    values = rng.standard_normal(shape) * (shape[0] ** -0.5 if scale is None else scale)
    return values.astype(np.float32)


def mlp(
    act: Act = jax.nn.relu,
    *,
    seed: int = 0,
    scale: float = 1.0,
    offset: float = 0.0,
    pinned: Any = None,
    params_in: Any = np.float32,
    width: int = 16,
) -> Problem:
    """Two hidden layers and a softmax; `pinned` is the dtype that the model itself casts everything to."""
    rng = np.random.default_rng(seed)
    sizes = [(6, width), (width, width), (width, 3)]
    layers = [{"w": normal(rng, *s).astype(params_in), "b": np.zeros(s[1], params_in)} for s in sizes]
    batch = normal(rng, 24, 6, scale=1.0), rng.integers(0, 3, 24)

    def loss_fn(params: Any, batch: Any) -> Any:
        x, y = batch
        if pinned is not None:
            params, x = jax.tree.map(lambda leaf: leaf.astype(pinned), (params, x))
        for layer in params[:-1]:
            x = act(x @ layer["w"] + layer["b"])
        scores = jax.nn.log_softmax(x @ params[-1]["w"] + params[-1]["b"])
        return -jnp.take_along_axis(scores, y[:, None], axis=1).mean() * scale + offset

    return Problem(loss_fn, layers, batch, seed=seed)


def ruled(change: Callable[[Any, Any], Any], inner: Act = jnp.tanh) -> Act:
    """`inner` with a rule of its own: `change(x, cotangent)` of the right cotangent."""

    @jax.custom_vjp
    def act(x: Any) -> Any:
        return inner(x)

    def backward(x: Any, g: Any) -> Any:
        return (change(x, jax.vjp(inner, x)[1](g)[0]).astype(x.dtype),)

    act.defvjp(lambda x: (inner(x), x), backward)
    return act


def normed(x: Any) -> Any:
    """BatchNorm: the bias before it has a gradient of rounding dust."""
    return jax.nn.relu((x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5))


def pooled(seed: int) -> Problem:
    """Convolutions, ReLU and max pooling over an image with a black border: ties everywhere."""
    rng = np.random.default_rng(seed)
    params = {
        "c1": normal(rng, 3, 3, 1, 4, scale=0.4),
        "b1": np.zeros(4, np.float32),
        "c2": normal(rng, 3, 3, 4, 4, scale=0.2),
        "head": normal(rng, 16, 3),
    }
    images = normal(rng, 3, 8, 8, 1, scale=1.0)
    images[:, :3] = 0

    def loss_fn(params: Any, x: Any) -> Any:
        for name in ("c1", "c2"):
            x = lax.conv_general_dilated(
                x, params[name], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(x + params["b1"])
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return jnp.mean((x.reshape(3, -1) @ params["head"]) ** 2)

    return Problem(loss_fn, params, images, seed=seed)


def recurrent(seed: int, gate: Act = jax.nn.sigmoid) -> Problem:
    """An LSTM over 12 steps, in a scan."""
    rng = np.random.default_rng(seed)
    params = {"w": normal(rng, 11, 32), "b": np.zeros(32, np.float32), "head": normal(rng, 8, 2)}

    def loss_fn(params: Any, x: Any) -> Any:
        def step(state: Any, now: Any) -> Any:
            h, c = state
            parts = jnp.split(jnp.concatenate([now, h], -1) @ params["w"] + params["b"], 4, -1)
            c = gate(parts[0]) * c + gate(parts[1]) * jnp.tanh(parts[2])
            return (gate(parts[3]) * jnp.tanh(c), c), None

        zero = jnp.zeros((4, 8), x.dtype)
        (h, _), _ = lax.scan(step, (zero, zero), x)
        return jnp.mean((h @ params["head"] - 1) ** 2)

    return Problem(loss_fn, params, normal(rng, 12, 4, 3, scale=1.0), seed=seed)


def attentive(seed: int) -> Problem:
    """One block of a transformer with a causal mask, a LayerNorm and an embedding."""
    rng = np.random.default_rng(seed)
    params = {
        "table": normal(rng, 20, 8, scale=1.0),
        "qkv": normal(rng, 8, 24),
        "out": normal(rng, 8, 8),
        "gain": np.ones(8, np.float32),
        "head": normal(rng, 8, 20),
    }

    def loss_fn(params: Any, tokens: Any) -> Any:
        x = params["table"][tokens]
        x = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * params["gain"]
        q, k, v = jnp.split(x @ params["qkv"], 3, -1)
        scores = jnp.where(jnp.tri(tokens.shape[1], dtype=bool), q @ k.swapaxes(1, 2), -1e9)
        x = x + jax.nn.gelu(jax.nn.softmax(scores) @ v @ params["out"])
        logits = jax.nn.log_softmax(x @ params["head"])
        return -jnp.take_along_axis(logits, tokens[..., None], -1).mean()

    return Problem(loss_fn, params, rng.integers(0, 20, (3, 7)), seed=seed)
