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


UNUSED = {"disconnected-parameter"}
"""Not each of these networks reads all of the layers."""


def in_a_row(p: Any, batch: Any) -> Any:
    h = jax.nn.relu(batch[0] @ p["hidden"]["w"] + p["hidden"]["b"])
    return jnp.mean((jnp.tanh(h @ p["middle"]["w"]) @ p["head"]["w"] - batch[1]) ** 2)


def adapted(p: Any, batch: Any) -> Any:
    x, w = batch[0], jax.lax.stop_gradient(p["hidden"]["w"])
    h = jnp.tanh(x @ w + x @ p["down"]["w"] @ p["up"]["w"])
    return jnp.mean((h @ p["head"]["w"] - batch[1]) ** 2)


def adapter(down: Any, up: Any) -> Any:
    return changed() | {"down": {"w": down}, "up": {"w": up}}


NOTHING = {name: {k: 0 * v for k, v in layer.items()} for name, layer in RANDOM.items()}


@pytest.mark.parametrize(
    ("loss_fn", "params", "named"),
    [
        (in_a_row, NOTHING, "`hidden`, `middle` and `head`"),
        (in_a_row, changed(middle=jnp.zeros((16, 16)), head=jnp.zeros((16, 2))), "`middle` and `head`"),
        (adapted, adapter(jnp.zeros((6, 2)), jnp.zeros((2, 16))), "`down` and `up`"),
    ],
    ids=["all", "the last two", "both of an adapter"],
)
def test_zeros_one_after_the_other_never_move(loss_fn: Any, params: Any, named: str) -> None:
    weights = params
    for _ in range(20):
        gradient = jax.grad(loss_fn)(weights, (X, Y))
        weights = jax.tree.map(lambda w, g: w - 0.1 * g, weights, gradient)
    still = [
        name for name in params if name in named and np.array_equal(weights[name]["w"], params[name]["w"])
    ]
    assert len(still) == named.count("`") / 2, "what the finding says"
    said = found(params, loss_fn)
    assert list(said.keys() - UNUSED) == ["symmetric-units"]
    assert said["symmetric-units"].startswith(f"All weights of {named} are 0.")


def modulated(p: Any, batch: Any) -> Any:
    """A branch whose scale, shift and gate are 0 at the start, under a head of zeros (DiT)."""
    h = batch[0] @ p["hidden"]["w"]
    scale, shift, gate = jnp.split(jnp.tanh(h) @ p["modulation"]["w"], 3, axis=-1)
    h = h + gate * jnp.tanh((h * (1 + scale) + shift) @ p["middle"]["w"])
    return jnp.mean((h @ p["head"]["w"] - batch[1]) ** 2)


def copied(p: Any, batch: Any) -> Any:
    """Zeros before and behind a trained copy, beside what it is a copy of (Zhang et al. 2023)."""
    h = batch[0] @ jax.lax.stop_gradient(p["hidden"]["w"])
    control = jnp.tanh((h + batch[0] @ p["before"]["w"]) @ p["middle"]["w"]) @ p["behind"]["w"]
    return jnp.mean(((jnp.tanh(h) + control) @ p["head"]["w"] - batch[1]) ** 2)


@pytest.mark.parametrize(
    ("loss_fn", "params"),
    [
        (in_a_row, changed(head=jnp.zeros((16, 2)))),
        (adapted, adapter(drawn(K[5], 6, 2), jnp.zeros((2, 16)))),
        (modulated, changed(head=jnp.zeros((16, 2))) | {"modulation": {"w": jnp.zeros((16, 48))}}),
        (copied, changed() | {"before": {"w": jnp.zeros((6, 16))}, "behind": {"w": jnp.zeros((16, 16))}}),
    ],
    ids=["head", "adapter", "modulation and head", "before and behind a copy"],
)
def test_zeros_that_something_else_wakes_are_fine(loss_fn: Any, params: Any) -> None:
    assert found(params, loss_fn).keys() <= UNUSED


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
