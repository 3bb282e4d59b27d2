"""The samples of each use in the field, and what a plain loop of optax makes of them.

What a pair is compared by is the same number for both, lower being better: the loss, where both have the
same, or else what the loss stands for.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradscope.load.target import load

os.environ.setdefault("KERAS_BACKEND", "jax")
SAMPLES = Path(__file__).parents[2] / "sample_models"
FRAMEWORKS = ("flax", "equinox", "haiku", "keras")
STEPS = 200
Measure = Callable[[Mapping[str, Any], Any], Any]
"""From the names of the file, and its trained params or model."""


@dataclass(frozen=True)
class Pair:
    field: str
    sick: str
    healthy: str
    measure: Measure | None = None
    """`None`: the loss of the first batch."""


def unexplained(file: Mapping[str, Any], params: Any) -> Any:
    """Share of the variance of the target, whatever its unit."""
    x, target = file["data"]
    return jnp.mean((file["predict"](params, x) - target) ** 2) / np.var(target)


def unknown_of_the_value(file: Mapping[str, Any], params: Any) -> Any:
    """1 - r²: what the value of a place does not tell of its mean return, at the best slope and offset."""
    place, _, outcome = file["batch"]
    rows, at, visits = np.unique(place, axis=0, return_inverse=True, return_counts=True)
    mean_return = np.bincount(at.ravel(), outcome) / visits
    _, value = file["model"].apply(params, rows)
    return 1 - jnp.corrcoef(value[:, 0], mean_return)[0, 1] ** 2


def on_new_noise(file: Mapping[str, Any], state: Any) -> Any:
    from flax import nnx

    model = nnx.merge(nnx.graphdef(file["model"]), state)
    keys = jax.random.split(jax.random.key(1), 16)
    return jnp.mean(jnp.stack([file["denoising_error"](model, file["batch"], key) for key in keys]))


PAIRS = (
    Pair("speech", "speech_log_of_silence.py", "speech_log_with_floor.py"),
    Pair("recommendation", "ratings_by_raw_id.py", "ratings_by_place.py"),
    Pair("tabular, finance", "claims_in_cents.py", "claims_in_logs.py", unexplained),
    Pair("tabular, medicine", "readmission_softmax.py", "readmission_sigmoid.py"),
    Pair("reinforcement learning", "actor_critic_pairs.py", "actor_critic.py", unknown_of_the_value),
    Pair("autonomous control", "steering_in_steps.py", "steering_straight_through.py"),
    Pair("generative", "diffusion_same_noise.py", "diffusion_new_noise.py", on_new_noise),
)


def needed(file: str) -> list[str]:
    """Frameworks that a sample imports."""
    text = (SAMPLES / file).read_text(encoding="utf-8")
    return [name for name in FRAMEWORKS if f"import {name}" in text or f"from {name} " in text]


def trained(file: str, measure: Measure | None, steps: int = STEPS) -> tuple[float, float]:
    """What it is compared by, before and after so many steps of its own optimizer on its batches in turn."""
    problem = load(str(SAMPLES / file)).for_training()
    leaves, tree = jax.tree.flatten(problem.params)
    floating = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    optimizer = problem.optimizer
    batches = list(itertools.islice(problem.batches(), 16))

    def whole(weights: Any) -> Any:
        given = dict(zip(floating, weights, strict=True))
        return tree.unflatten([given.get(i, leaf) for i, leaf in enumerate(leaves)])

    @jax.jit
    def compared(weights: Any) -> Any:
        params = whole(weights)
        if measure is None:
            return problem.loss(params, batches[0], problem.key(0))[0]
        return measure(problem.loss_fn.__globals__, problem.packed(params))

    @jax.jit
    def step(weights: Any, state: Any, batch: Any, key: Any) -> Any:
        def loss(params: Any) -> Any:
            return problem.loss(params, batch, key)[0]

        gradients = jax.tree.leaves(jax.grad(loss, allow_int=True)(whole(weights)))
        updates, state = optimizer.update(tree.unflatten(gradients), state, whole(weights))
        moved = jax.tree.leaves(optax.apply_updates(whole(weights), updates))
        return [moved[i] for i in floating], state

    weights = [jnp.asarray(leaves[i]) for i in floating]
    before, state = float(compared(weights)), optimizer.init(whole(weights))
    for count in range(steps):
        weights, state = step(weights, state, batches[count % len(batches)], problem.key(count))
    return before, float(compared(weights))
