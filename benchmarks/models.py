"""The four models of the speed table, as a user would write them: plain pytrees, no framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@dataclass(frozen=True)
class Model:
    name: str
    loss_fn: Callable[[Any, Any], Any]
    params: Any
    batch: Any


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _dense(rng: np.random.Generator, n_in: int, n_out: int) -> dict[str, np.ndarray]:
    w = rng.normal(size=(n_in, n_out)).astype(np.float32) * (2 / n_in) ** 0.5
    return {"w": w, "b": np.zeros(n_out, np.float32)}


def _cross_entropy(logits: Any, labels: Any) -> Any:
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[..., None], axis=-1).mean()


def mlp(width: int = 1024, depth: int = 6, rows: int = 256, inputs: int = 784) -> Model:
    rng = _rng()
    sizes = [inputs, *[width] * depth, 10]
    params = [_dense(rng, a, b) for a, b in pairwise(sizes)]

    def loss_fn(params: Any, batch: Any) -> Any:
        x, y = batch
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return _cross_entropy(x @ params[-1]["w"] + params[-1]["b"], y)

    batch = rng.normal(size=(rows, inputs)).astype(np.float32), rng.integers(0, 10, rows)
    return Model("MLP, 6 x 1024, batch 256", loss_fn, params, batch)


def cnn(channels: int = 32, depth: int = 6, rows: int = 32) -> Model:
    rng = _rng()

    def conv(n_in: int, n_out: int) -> dict[str, np.ndarray]:
        w = rng.normal(size=(3, 3, n_in, n_out)).astype(np.float32) * (2 / (9 * n_in)) ** 0.5
        return {"w": w, "b": np.zeros(n_out, np.float32)}

    params = {
        "conv": [conv(3, channels), *[conv(channels, channels) for _ in range(depth - 1)]],
        "head": _dense(rng, channels, 10),
    }

    def loss_fn(params: Any, batch: Any) -> Any:
        x, y = batch
        for layer in params["conv"]:
            x = lax.conv_general_dilated(
                x, layer["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(x + layer["b"])
        x = x.mean(axis=(1, 2))
        return _cross_entropy(x @ params["head"]["w"] + params["head"]["b"], y)

    batch = rng.normal(size=(rows, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, rows)
    return Model("CNN, 6 x 32 channels, 32 x 32, batch 32", loss_fn, params, batch)


def rnn(width: int = 256, length: int = 100, rows: int = 64) -> Model:
    rng = _rng()
    params = {
        "cell": {
            "wx": rng.normal(size=(32, width)).astype(np.float32) * 32**-0.5,
            "wh": rng.normal(size=(width, width)).astype(np.float32) * width**-0.5,
            "b": np.zeros(width, np.float32),
        },
        "head": _dense(rng, width, 10),
    }

    def loss_fn(params: Any, batch: Any) -> Any:
        x, y = batch
        cell = params["cell"]

        def step(h: Any, u: Any) -> Any:
            return jnp.tanh(u @ cell["wx"] + h @ cell["wh"] + cell["b"]), None

        h, _ = lax.scan(step, jnp.zeros((x.shape[0], width)), x.swapaxes(0, 1))
        return _cross_entropy(h @ params["head"]["w"] + params["head"]["b"], y)

    batch = rng.normal(size=(rows, length, 32)).astype(np.float32), rng.integers(0, 10, rows)
    return Model("RNN, 256 units, 100 steps, batch 64", loss_fn, params, batch)


def transformer(
    layers: int = 12,
    width: int = 256,
    heads: int = 8,
    tokens: int = 128,
    rows: int = 4,
    edited: int | None = None,
) -> Model:
    """`edited` is a layer with another activation than the rest."""
    rng = _rng()
    vocabulary = 1000

    def norm() -> dict[str, np.ndarray]:
        return {"scale": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}

    def block() -> dict[str, Any]:
        return {
            "norm1": norm(),
            "qkv": _dense(rng, width, 3 * width),
            "out": _dense(rng, width, width),
            "norm2": norm(),
            "up": _dense(rng, width, 4 * width),
            "down": _dense(rng, 4 * width, width),
        }

    params = {
        "embed": {"table": rng.normal(size=(vocabulary, width)).astype(np.float32)},
        "blocks": [block() for _ in range(layers)],
        "norm": norm(),
        "head": _dense(rng, width, vocabulary),
    }

    def normed(p: Any, x: Any) -> Any:
        x = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * p["scale"] + p["bias"]

    def attention(p: Any, x: Any) -> Any:
        n, t, _ = x.shape
        q, k, v = jnp.split((x @ p["qkv"]["w"] + p["qkv"]["b"]).reshape(n, t, heads, -1), 3, axis=-1)
        scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) * q.shape[-1] ** -0.5
        scores = jnp.where(jnp.tri(t, dtype=bool), scores, -1e9)
        mixed = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), v).reshape(n, t, -1)
        return mixed @ p["out"]["w"] + p["out"]["b"]

    def loss_fn(params: Any, batch: Any) -> Any:
        x, y = batch
        x = params["embed"]["table"][x]
        for number, p in enumerate(params["blocks"]):
            x = x + attention(p, normed(p["norm1"], x))
            activation = jax.nn.silu if number == edited else jax.nn.gelu
            h = activation(normed(p["norm2"], x) @ p["up"]["w"] + p["up"]["b"])
            x = x + h @ p["down"]["w"] + p["down"]["b"]
        x = normed(params["norm"], x)
        return _cross_entropy(x @ params["head"]["w"] + params["head"]["b"], y)

    ids = rng.integers(0, vocabulary, (rows, tokens + 1))
    name = f"transformer, {layers} x {width}, {tokens} tokens, batch {rows}"
    return Model(name, loss_fn, params, (ids[:, :-1], ids[:, 1:]))


ALL = (mlp, cnn, rnn, transformer)
