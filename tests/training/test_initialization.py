"""Units that stay equal, and copies of random numbers: exact, and quiet where it only looks like it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.measure import copies
from gradscope.runs.check import check_loss

K = jax.random.split(jax.random.key(0), 6)
X = jax.random.normal(K[0], (64, 6))
Y = jnp.stack([jnp.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)


def drawn(key: Any, *shape: int) -> Any:
    return jax.random.normal(key, shape) / shape[-2] ** 0.5


def loss(p: Any, batch: Any) -> Any:
    x, y = batch
    h = jnp.tanh(x @ p["hidden"]["w"] + p["hidden"]["b"])
    h = h + jnp.tanh(h @ p["middle"]["w"])
    return jnp.mean((h @ p["head"]["w"] - y) ** 2)


RANDOM = {
    "hidden": {"w": drawn(K[1], 6, 16), "b": jnp.zeros(16)},
    "middle": {"w": drawn(K[2], 16, 16)},
    "head": {"w": drawn(K[3], 16, 2)},
}


def changed(**layers: Any) -> Any:
    return RANDOM | {name: RANDOM[name] | {"w": w} for name, w in layers.items()}


def found(params: Any, loss_fn: Any = loss) -> dict[str, str]:
    report = check_loss(loss_fn, params, (X, Y), optimizer=optax.adam(1e-2))
    return {f.rule: f.message for f in report.findings if f.severity.value != "note"}


def test_constant_hidden_weights_stay_one_unit() -> None:
    same = changed(
        hidden=jnp.full((6, 16), 0.1), middle=jnp.full((16, 16), 0.05), head=jnp.full((16, 2), 0.1)
    )
    message = found(same)["symmetric-units"]
    assert message.startswith("All 16 units of `middle.w` are equal, get the same gradient")


@pytest.mark.parametrize(
    "params",
    [
        RANDOM,
        changed(head=jnp.zeros((16, 2))),
        changed(hidden=jnp.ones((6, 16))),
        changed(middle=jnp.zeros((16, 16))),
    ],
    ids=["random", "zero head", "constant below random", "zero branch"],
)
def test_constants_whose_gradients_differ_are_fine(params: Any) -> None:
    assert found(params) == {}


def test_a_key_that_was_used_twice() -> None:
    def deep(p: Any, batch: Any) -> Any:
        h = jnp.tanh(batch[0] @ p["hidden"]["w"])
        for name in ("one", "two", "three"):
            h = h + jnp.tanh(h @ p[name]) / 2
        return jnp.mean((h @ p["head"]["w"] - batch[1]) ** 2)

    a = drawn(K[4], 16, 16)
    params = {
        "hidden": {"w": RANDOM["hidden"]["w"]},
        "head": RANDOM["head"],
        "one": a,
        "two": drawn(K[5], 16, 16),
    }
    said = "`one` and `three` hold the same numbers, bit for bit."
    assert found(params | {"three": jnp.array(a)}, deep) == {"copied-initialization": said}
    assert found(params | {"three": a}, deep) == {}


def test_a_target_network_is_a_copy_on_purpose() -> None:
    def bootstrapped(p: Any, batch: Any) -> Any:
        target = jax.lax.stop_gradient(jnp.tanh(batch[0] @ p["target"]))
        return jnp.mean((jnp.tanh(batch[0] @ p["online"]) - target - batch[1].sum()) ** 2)

    w = drawn(K[4], 6, 16)
    assert "copied-initialization" not in found({"online": w, "target": jnp.array(w)}, bootstrapped)


MADE = {
    "decays": np.linspace(0, 1, 16) ** 0.7,
    "periodic": np.arange(16) % 3 - 1.0,
    "tiled": np.tile(np.log(np.arange(1, 17)), (16, 1)),
    "positions": np.sin(np.arange(16)[:, None] / 100 ** (np.arange(16) / 16)),
}


@pytest.mark.parametrize("name", MADE)
def test_numbers_that_were_computed_are_alike_by_design(name: str) -> None:
    def mixed(p: Any, batch: Any) -> Any:
        h = jnp.tanh(batch[0] @ p["hidden"]["w"])
        for each in ("one", "two"):
            h = h + jnp.tanh(h * p[each] if p[each].ndim == 1 else h @ p[each])
        return jnp.mean((h @ p["head"]["w"] - batch[1]) ** 2)

    made = np.asarray(MADE[name], np.float32)
    params = {"hidden": {"w": RANDOM["hidden"]["w"]}, "head": RANDOM["head"]}
    assert "copied-initialization" not in found(
        params | {"one": jnp.array(made), "two": jnp.array(made)}, mixed
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(8,), (16, 16), (4, 3, 8)])
@pytest.mark.parametrize("draw", [jax.random.normal, jax.random.uniform, jax.random.truncated_normal])
def test_random_numbers_look_drawn(draw: Any, shape: tuple[int, ...], dtype: Any) -> None:
    more = (-2, 2) if draw is jax.random.truncated_normal else ()
    assert copies.looks_drawn(np.asarray(draw(jax.random.key(0), *more, shape, dtype)))
