"""A `stop_gradient` behind a part that is drawn at random: told where all learning stands behind it and the
part is worth training, and quiet where it was meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.records import Finding
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_problem

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 20)).astype(np.float32)
Y = np.tanh(X[:, :1] - X[:, 1:2]).astype(np.float32)
LABELS = RNG.integers(0, 4, 256)
IMAGES = RNG.normal(size=(256, 6, 6, 1)).astype(np.float32)
IMAGES[np.arange(256), LABELS, :, 0] += 1.5
SEEN = {"camera": X[:, :10], "motion": X[:, 10:], "action": 2 * (X[:, :2] - X[:, 10:12])}
SERIES = X.reshape(32, 8, 20)[..., :1]
stop = jax.lax.stop_gradient
Loss = Callable[[Any, Any], Any]


def drawn(key: Any, **shapes: tuple[int, ...]) -> Any:
    keys = jax.random.split(key, len(shapes))
    he = jax.nn.initializers.he_normal()
    return {name: he(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}


def narrow(key: Any) -> Any:
    one, two = jax.random.split(key)
    return {"encoder": drawn(one, w=(20, 3)), "head": {**drawn(two, w=(3, 1)), "b": jnp.zeros(1)}}


def regression(p: Any, batch: Any) -> Any:
    x, y = batch
    code = stop(jnp.tanh(x @ p["encoder"]["w"]))
    return jnp.mean((code @ p["head"]["w"] + p["head"]["b"] - y) ** 2)


def of_images(key: Any) -> Any:
    one, two = jax.random.split(key)
    return {
        "backbone": drawn(one, conv=(3, 3, 1, 8), out=(8 * 36, 3)),
        "head": drawn(two, w=(3, 16), out=(16, 4)),
    }


def classes(p: Any, batch: Any) -> Any:
    x, labels = batch
    h = jax.lax.conv(
        jnp.moveaxis(x, -1, 1), jnp.moveaxis(p["backbone"]["conv"], (2, 3), (1, 0)), (1, 1), "SAME"
    )
    h = stop(jax.nn.relu(h).reshape(len(x), -1) @ p["backbone"]["out"])
    scores = jax.nn.relu(h @ p["head"]["w"]) @ p["head"]["out"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()


def of_two(key: Any) -> Any:
    one, two = jax.random.split(key)
    return {"fusion": drawn(one, a=(10, 4), b=(10, 4)), "policy": drawn(two, w=(4, 32), out=(32, 2))}


def imitation(p: Any, batch: Any) -> Any:
    state = stop(jax.nn.elu(batch["camera"] @ p["fusion"]["a"] + batch["motion"] @ p["fusion"]["b"]))
    action = jnp.tanh(state @ p["policy"]["w"]) @ p["policy"]["out"]
    return optax.huber_loss(action, batch["action"]).mean()


def told(loss: Loss, init: Callable[[Any], Any], batch: Any, rate: float = 1e-2) -> Finding:
    problem = Problem(loss, init(jax.random.key(0)), batch, optimizer=optax.adam(rate))
    report = check_problem(
        problem.with_factory(lambda seed: init(jax.random.key(seed))), CheckOptions(), target="model"
    )
    assert not [each for each in report.skipped if each.what == "stop_gradient"]
    (finding,) = [each for each in report.findings if each.rule == "blocked-gradient"]
    return finding


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("loss", "init", "batch"),
    [
        (regression, narrow, (X, Y)),
        (imitation, of_two, SEEN),
        (classes, of_images, (IMAGES, LABELS)),
        (lambda p, batch: 1e-6 * regression(p, batch), narrow, (X, Y)),
    ],
)
def test_a_random_part_behind_which_all_learning_stands_is_told(loss: Loss, init: Any, batch: Any) -> None:
    finding = told(loss, init, batch)
    assert finding.severity.value == "warning"
    assert "no parameter that learns sees the batch but through it" in finding.message
    assert finding.source is not None
    assert "stop(" in str(finding.source.text)
    assert 2 * finding.evidence["loss_after_let_through"] < finding.evidence["loss_after"]  # type: ignore[operator]


def wide(key: Any) -> Any:
    one, two = jax.random.split(key)
    return {"encoder": drawn(one, w=(20, 200)), "head": {**drawn(two, w=(200, 1)), "b": jnp.zeros(1)}}


def projection(key: Any) -> Any:
    one, two = jax.random.split(key)
    return {"encoder": drawn(one, w=(120, 48)), "head": drawn(two, w=(48, 64), out=(64, 1))}


def projected(p: Any, batch: Any) -> Any:
    x, y = batch
    h = jax.nn.relu(stop(x @ p["encoder"]["w"]) @ p["head"]["w"])
    return jnp.mean((h @ p["head"]["out"] - y) ** 2)


def loaded(key: Any) -> Any:
    return {**narrow(key), "encoder": {"w": np.eye(20, 3, dtype=np.float32)}}


def distilled(p: Any, batch: Any) -> Any:
    x, _ = batch
    return jnp.mean((x @ p["online"]["w"] - stop(x @ p["target"]["w"])) ** 2)


def of_target(key: Any) -> Any:
    one, two = jax.random.split(key)
    return {"target": drawn(one, w=(20, 8)), "online": drawn(two, w=(20, 8))}


def reservoir(key: Any) -> Any:
    one, two = jax.random.split(key)
    return {"reservoir": drawn(one, w=(64, 64), u=(1, 64)), "readout": drawn(two, w=(64, 1))}


def echo(p: Any, x: Any) -> Any:
    def step(h: Any, u: Any) -> Any:
        h = jnp.tanh(0.5 * h @ p["reservoir"]["w"] + u @ p["reservoir"]["u"])
        return h, h

    _, states = jax.lax.scan(step, jnp.zeros((x.shape[0], 64)), jnp.swapaxes(x, 0, 1))
    return jnp.mean((stop(states) @ p["readout"]["w"] - jnp.swapaxes(jnp.roll(x, 1, 1), 0, 1)) ** 2)


def beside(p: Any, batch: Any) -> Any:
    x, y = batch
    code = stop(jnp.tanh(x @ p["encoder"]["w"]))
    return jnp.mean((code @ p["head"]["w"] + x @ p["head"]["around"] - y) ** 2)


def with_a_way_around(key: Any) -> Any:
    made = narrow(key)
    return {**made, "head": {"w": made["head"]["w"], "around": jnp.zeros((20, 1))}}


MIXED = X[:, :5] @ RNG.normal(size=(5, 120)).astype(np.float32) / 2
MIXED = MIXED + 0.3 * RNG.normal(size=MIXED.shape).astype(np.float32)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("loss", "init", "batch"),
    [
        (regression, loaded, (X, Y)),
        (projected, projection, (MIXED, X[:, :1] + X[:, 1:2])),
        (distilled, of_target, (X, Y)),
        (regression, wide, (X, Y)),
        (echo, reservoir, SERIES),
        (beside, with_a_way_around, (X, Y)),
    ],
)
def test_what_was_meant_is_a_note(loss: Loss, init: Any, batch: Any) -> None:
    assert told(loss, init, batch, 3e-3).severity.value == "note"


def test_params_that_no_function_of_a_key_makes_say_nothing_of_how_they_were_made() -> None:
    problem = Problem(regression, narrow(jax.random.key(0)), (X, Y), optimizer=optax.adam(1e-2))
    (finding,) = check_problem(problem, CheckOptions(), target="model").findings
    assert finding.severity.value == "note"
