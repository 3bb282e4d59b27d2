"""What an optimizer does to each layer, against plain optax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.optimizers.compare import compare
from gradscope.records import Comparison, LayerUpdate
from gradscope.records.options import CompareOptions

X = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)


def init(seed: int) -> Any:
    first, second = jax.random.split(jax.random.PRNGKey(seed))
    return {
        "stack": {"w": jax.random.normal(first, (2, 4, 4)) / 2.0, "b": jnp.zeros((2, 4))},
        "head": {"w": jax.random.normal(second, (4, 1)) / 2.0},
    }


def loss(params: Any, batch: Any) -> Any:
    def layer(x: Any, p: Any) -> Any:
        return jnp.tanh(x @ p["w"] + p["b"]), None

    x, _ = jax.lax.scan(layer, batch, params["stack"])
    return jnp.mean((x @ params["head"]["w"] - jnp.sin(batch.sum(1, keepdims=True))) ** 2)


def problem(scale: float = 1.0, **more: Any) -> Problem:
    def scaled(params: Any, batch: Any) -> Any:
        return scale * loss(params, batch)

    return Problem(scaled, init(0), X, **more).with_factory(init)


def compared(*names: str, scale: float = 1.0, optimizer: Any = None, **terms: Any) -> Comparison:
    options = CompareOptions(
        **{"optimizers": names, "steps": 20, "seeds": 1, "grid": 1, "updates": True, **terms}
    )
    return compare(problem(scale, optimizer=optimizer).reseeded, options, 0, lambda stage: None)


def plain(make: Any, steps: int, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """By layer: rms of the update after so many steps, over the weights', and its cosine to the descent."""
    params, optimizer = init(seed), make
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(jax.grad(loss)(params, X), state, params)
        params = optax.apply_updates(params, updates)
    slope = jax.grad(loss)(params, X)
    updates, _ = optimizer.update(slope, state, params)

    def flat(tree: Any, name: str) -> Any:
        if name == "head":
            return np.ravel(tree["head"]["w"]).astype(np.float64)
        number = int(name[-2])
        parts = (tree["stack"]["w"][number], tree["stack"]["b"][number])
        return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)

    found = {}
    for name in ("stack[0]", "stack[1]", "head"):
        u, g, w = (flat(tree, name) for tree in (updates, slope, params))
        size = np.sqrt(np.mean(u**2))
        cosine = -(u @ g) / (np.linalg.norm(u) * np.linalg.norm(g))
        found[name] = (size, size / np.sqrt(np.mean(w**2)), cosine)
    return found


def numbers(each: LayerUpdate) -> tuple[Any, Any]:
    return (
        (each.rms_first, each.relative_first, each.cosine_first),
        (each.rms_last, each.relative_last, each.cosine_last),
    )


@pytest.mark.few(1)
@pytest.mark.parametrize("vmap", ["off", "on"])
def test_updates_at_both_ends_are_those_of_plain_optax_by_layer(vmap: str) -> None:
    makers = {"momentum": optax.sgd(1e-2, momentum=0.9), "adamw": optax.adamw(1e-3)}
    for row in compared(*makers, vmap=vmap).contestants:
        first, last = plain(makers[row.name], 0), plain(makers[row.name], 20)
        assert [each.layer for each in row.updates] == ["stack[0]", "stack[1]", "head"]
        for each in row.updates:
            begun, ended = numbers(each)
            assert begun == pytest.approx(first[each.layer], rel=1e-3)
            assert ended == pytest.approx(last[each.layer], rel=1e-3)


def test_gradient_descent_goes_straight_down_whatever_the_scale_of_the_loss() -> None:
    (row,) = compared("sgd", scale=1e-25).contestants
    assert all(each.cosine_first == pytest.approx(1.0, abs=1e-5) for each in row.updates)


def test_the_schedule_leaves_the_size_as_it_is_and_a_warm_up_does_not_hide_the_first_step() -> None:
    (row,) = compared("adam", schedule="wsd").contestants
    for each in row.updates:
        assert each.rms_first == pytest.approx(1e-3, rel=0.05)
        assert each.rms_last is not None
        assert each.rms_last > 1e-5


def test_what_does_not_move_has_no_angle() -> None:
    parts = {"train": optax.sgd(0.1), "keep": optax.set_to_zero()}
    frozen = optax.multi_transform(parts, {"stack": "keep", "head": "train"})
    (row,) = compared("yours", optimizer=frozen).contestants
    for each in row.updates:
        assert (each.cosine_first is None) == each.layer.startswith("stack")
        assert (each.rms_first == 0) == each.layer.startswith("stack")
