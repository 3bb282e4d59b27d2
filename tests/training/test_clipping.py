"""Clipping is told by what an optimizer answers, and nothing that normalizes is taken for it."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from gradscope.records import ClippedStep, Report
from gradscope.runs.check import check_loss
from gradscope.training.clipping import Answer, clipped_step

RNG = np.random.default_rng(0)
WEIGHTS = {"w": RNG.normal(size=(8, 6)).astype(np.float32), "v": RNG.normal(size=(6,)).astype(np.float32)}
GRADIENTS = {
    "w": RNG.normal(size=(8, 6)).astype(np.float32),
    "v": 4 * RNG.normal(size=(6,)).astype(np.float32),
}
NORM = float(optax.tree.norm(GRADIENTS))


def asked(optimizer: Any, size: float = 1.0, dtype: Any = np.float32) -> ClippedStep | None:
    """Of all states, those arrays that have the shape of a leaf."""
    optimizer = optax.with_extra_args_support(optimizer)
    weights = {name: jnp.asarray(value, dtype) for name, value in WEIGHTS.items()}
    gradients = {name: jnp.asarray(size * value, dtype) for name, value in GRADIENTS.items()}

    def ask(power: float) -> Answer:
        scaled = {name: value * jnp.asarray(2.0**-power, dtype) for name, value in gradients.items()}
        updates, state = optimizer.update(scaled, optimizer.init(weights), weights, value=jnp.float32(1.0))
        kept = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return [
            np.stack(
                [np.asarray(a, np.float32) for a in (updates[name], *kept) if a.shape == updates[name].shape]
            )
            for name in WEIGHTS
        ]

    return clipped_step(3, ask, [gradients[name] for name in WEIGHTS])


def clipped(optimizer: Any, by: float = 1e-3) -> Any:
    return optax.chain(optax.clip_by_global_norm(by), optimizer)


@pytest.mark.parametrize(
    ("optimizer", "proportional"),
    [
        (optax.sgd(0.1), True),
        (optax.sgd(0.1, momentum=0.9, nesterov=True), True),
        (optax.adam(1e-3), False),
        (optax.adamw(1e-3, weight_decay=0.1), False),
        (optax.lion(1e-4), False),
        (optax.adagrad(0.1), True),
        (optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1)), True),
        (optax.adam(optax.linear_schedule(0.0, 1e-3, 10)), False),
    ],
)
def test_a_clipped_norm_is_found_whatever_follows(optimizer: Any, proportional: bool) -> None:
    found = asked(clipped(optimizer))
    assert found is not None
    assert found.step == 3
    assert found.share == 1
    assert found.norm == pytest.approx(NORM, rel=1e-5)
    assert found.factor == pytest.approx(NORM / 1e-3, rel=0.01)
    assert found.kept_norm == pytest.approx(1e-3, rel=0.01)
    assert found.proportional is proportional


def test_the_factor_is_that_of_the_gradient_at_any_size() -> None:
    for size in (0.1, 1e3):
        found = asked(clipped(optax.adam(1e-3), size * 1e-3), size)
        assert found is not None
        assert found.factor == pytest.approx(NORM / 1e-3, rel=0.01)


def test_elements_and_blocks_that_are_clipped_by_themselves() -> None:
    sizes = np.abs(np.concatenate([GRADIENTS["w"].ravel(), GRADIENTS["v"]]))
    found = asked(optax.chain(optax.clip(1e-2), optax.sgd(0.1)))
    assert found is not None
    assert found.kept_norm is None
    assert found.proportional
    assert found.share == pytest.approx(np.mean(sizes >= 64 * 1e-2))
    blocks = asked(optax.chain(optax.clip_by_block_rms(1e-3), optax.adam(0.1)))
    assert blocks is not None
    assert blocks.share == 1
    assert blocks.kept_norm is None
    rows = asked(optax.chain(optax.adaptive_grad_clip(1e-4), optax.sgd(0.1)))
    assert rows is not None
    assert rows.share == 1
    assert rows.kept_norm is None


def test_half_precision() -> None:
    for dtype in (jnp.bfloat16, jnp.float16):
        found = asked(clipped(optax.sgd(0.1), NORM / 128), dtype=dtype)
        assert found is not None
        assert found.factor == pytest.approx(128, rel=0.02)


@pytest.mark.parametrize("size", [1e-3, 1.0])
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1),
        optax.sgd(0.1, momentum=0.9),
        optax.adam(1e-3),
        optax.adam(1e-3, eps=1.0),
        optax.adam(1e-3, eps_root=1e-8),
        optax.adamw(1e-3),
        optax.rmsprop(1e-3),
        optax.rmsprop(1e-3, initial_scale=1.0),
        optax.adagrad(0.1),
        optax.adadelta(1.0),
        optax.adafactor(1e-3),
        optax.amsgrad(1e-3),
        optax.fromage(1e-3),
        optax.lamb(1e-3),
        optax.lars(1e-3),
        optax.lion(1e-4),
        optax.novograd(1e-3),
        optax.rprop(1e-3),
        optax.sign_sgd(1e-3),
        optax.yogi(1e-3),
        optax.optimistic_adam_v2(1e-3),
        optax.polyak_sgd(),
        optax.normalize_by_update_norm(),
        optax.contrib.muon(1e-3),
        optax.contrib.prodigy(),
        optax.contrib.dog(1.0),
        optax.contrib.cocob(),
        optax.contrib.schedule_free_adamw(1e-3),
        optax.chain(optax.normalize_by_update_norm(), optax.sgd(0.1)),
        optax.chain(optax.adam(1e-3), optax.clip_by_global_norm(1e-6)),
        optax.set_to_zero(),
    ],
)
def test_what_normalizes_or_clips_its_steps_is_no_clipping_of_gradients(optimizer: Any, size: float) -> None:
    assert asked(optimizer, size) is None


def test_a_threshold_near_the_norm_or_above_it_is_not_told() -> None:
    for part in (1 / 32, 1.0, 100.0):
        assert asked(clipped(optax.adam(1e-3), part * NORM)) is None


def loss(params: Any, batch: Any) -> Any:
    return jnp.mean((jax.nn.tanh(batch[0] @ params["body"]["w"]) @ params["head"] - batch[1]) ** 2)


PARAMS = {"body": {"w": WEIGHTS["w"]}, "head": WEIGHTS["v"]}
BATCH = RNG.normal(size=(16, 8)).astype(np.float32), RNG.normal(size=(16,)).astype(np.float32)


def checked(optimizer: Any, steps: int = 2) -> Report:
    return check_loss(loss, PARAMS, BATCH, optimizer=optimizer, steps=steps)


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        (optax.chain(optax.clip_by_global_norm(1e-4), optax.adam(1e-3)), 2),
        (optax.MultiSteps(optax.chain(optax.clip_by_global_norm(1e-4), optax.adam(1e-3)), 2), 2),
        (
            optax.multi_transform(
                {"clipped": optax.chain(optax.clip_by_global_norm(1e-4), optax.adam(1e-3))},
                {"body": "clipped", "head": "clipped"},
            ),
            2,
        ),
    ],
)
def test_steps_of_a_training_are_held_against_plain_gradients(optimizer: Any, steps: int) -> None:
    training = checked(optimizer, steps).training
    assert training is not None
    first, last = training.clipped
    norm = float(optax.tree.norm(jax.grad(loss)(PARAMS, BATCH)))
    assert (first.step, last.step) == (0, steps - 1)
    assert first.norm == pytest.approx(norm, rel=1e-5)
    assert first.factor == pytest.approx(norm / 1e-4, rel=1e-3)
    assert not first.proportional
    assert not last.proportional


def test_steps_that_are_given_as_new_weights_hide_no_clipping() -> None:
    inner = optax.chain(optax.clip_by_global_norm(1e-4), optax.sgd(0.1))

    def update(gradients: Any, state: Any, weights: Any) -> Any:
        updates, state = inner.update(gradients, state, weights)
        return jax.tree.map(lambda w, u: (w + u) - w, weights, updates), state

    training = checked(optax.GradientTransformation(inner.init, update)).training
    assert training is not None
    assert [each.kept_norm for each in training.clipped] == pytest.approx([1e-4, 1e-4], rel=0.01)
    assert all(each.proportional for each in training.clipped)


def test_a_step_that_is_searched_along_the_loss_is_not_judged() -> None:
    searching = optax.chain(optax.clip_by_global_norm(1e-4), optax.lbfgs())
    training = checked(searching).training
    assert training is not None
    assert training.clipped == ()
    assert math.isfinite(training.end)
