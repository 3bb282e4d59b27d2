"""Places of a leaf that are one layer: taps of a convolution, blocks of a block-diagonal matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.trace import oracle
from tests.trace.oracle import agreeing, dense, error, normal

X, Y = normal(0, 3, 7, 6), normal(1, 3, 7, 6)
BATCH = (X, Y)
Apply = Callable[[Any, Any], Any]


def shifted(x: Any, by: int) -> Any:
    return jnp.pad(x, ((0, 0), (by, 0), (0, 0)))[:, : x.shape[1]]


def accumulated(q: Any, x: Any) -> Any:
    found = jnp.zeros_like(x)
    for i in range(4):
        found = found + shifted(x, i) * q["w"][3 - i]
    return found + q["b"]


def in_blocks(q: Any, x: Any) -> Any:
    pieces = x.reshape(*x.shape[:-1], 3, 2)
    return (jnp.einsum("...hi,hij->...hj", pieces, q["w"]) + q["b"]).reshape(x.shape)


def two_products_in_blocks(q: Any, x: Any) -> Any:
    h = jnp.tanh(jnp.einsum("...hi,hij->...hj", x.reshape(*x.shape[:-1], 3, 2), q["w1"]))
    return jnp.einsum("...hi,hij->...hj", h, q["w2"]).reshape(x.shape)


ONE: dict[str, tuple[Any, Apply]] = {
    "taps of a matrix each": (
        {"w": normal(2, 4, 6, 6), "b": normal(3, 6)},
        lambda q, x: sum(shifted(x, i) @ q["w"][i] for i in range(4)) + q["b"],
    ),
    "taps of a vector each": ({"w": normal(2, 4, 6), "b": normal(3, 6)}, accumulated),
    "blocks in one product": ({"w": normal(2, 3, 2, 2), "b": normal(3, 3, 2)}, in_blocks),
    "blocks in a compiled function": (
        {"w": normal(2, 3, 2, 2), "b": normal(3, 3, 2)},
        lambda q, x: jax.jit(in_blocks)(q, x),
    ),
    "blocks one by one": (
        {"w": normal(2, 3, 2, 2)},
        lambda q, x: jnp.concatenate([x[..., 2 * i : 2 * i + 2] @ q["w"][i] for i in range(3)], -1),
    ),
}


@pytest.mark.parametrize("name", ONE)
def test_these_are_one_layer(name: str) -> None:
    mine, run = ONE[name]

    def network(p: Any, b: Any, bump: Any) -> Any:
        return error(jnp.tanh(bump("z", run(p["mixer"], b[0]))) @ p["head"]["w"], b[1])

    params = {"mixer": mine, "head": {"w": normal(5, 6, 6)}}
    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), params, BATCH)
    assert oracle.names(found) == ["mixer", "head"]
    mixer = oracle.layer(found, "mixer")
    assert mixer.parameters == tuple(f"mixer.{leaf}" for leaf in sorted(mine))
    assert mixer.uses == 1
    assert mixer.delta_norm == pytest.approx(
        oracle.norm(oracle.deltas(network, params, BATCH)["z"]), rel=1e-5
    )
    assert [layer.depth for layer in found.layers] == [1, 2]


def test_a_network_of_block_diagonal_matrices_has_a_row_for_each_matrix() -> None:
    mine = {"w1": normal(2, 3, 2, 5), "w2": normal(3, 3, 5, 2)}
    found = agreeing(
        lambda p, b: error(two_products_in_blocks(p["mixer"], b[0]), b[1]), {"mixer": mine}, BATCH
    )
    assert oracle.names(found) == ["mixer.w1", "mixer.w2"]


def test_blocks_of_a_stack_of_layers_keep_the_index_of_the_layer() -> None:
    params = {"layers": {"w": normal(2, 4, 3, 2, 2), "b": normal(3, 4, 3, 2)}}

    def loss(p: Any, b: Any) -> Any:
        return error(lax.scan(lambda h, q: (jnp.tanh(in_blocks(q, h)), None), b[0], p["layers"])[0], b[1])

    assert oracle.names(agreeing(loss, params, BATCH)) == [f"layers[{i}]" for i in range(4)]


def members(q: Any, x: Any, i: int) -> Any:
    return jnp.tanh(x @ q["w1"][i]) @ q["w2"][i]


SEVERAL: dict[str, tuple[Any, Apply]] = {
    "networks whose outputs are averaged": (
        {"w1": normal(2, 3, 6, 5), "w2": normal(3, 3, 5, 6)},
        lambda q, x: sum(members(q, x, i) for i in range(3)) / 3,
    ),
    "networks whose outputs are put side by side": (
        {"w1": normal(2, 3, 6, 5), "w2": normal(3, 3, 5, 2)},
        lambda q, x: jnp.concatenate([members(q, x, i) for i in range(3)], -1),
    ),
    "layers with skips": (
        {"w1": normal(2, 3, 6, 6)},
        lambda q, x: (h := x @ q["w1"][0]) + (g := jnp.tanh(h) @ q["w1"][1]) + jnp.tanh(g) @ q["w1"][2],
    ),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_these_are_a_layer_for_each_place(name: str) -> None:
    mine, run = SEVERAL[name]
    found = agreeing(lambda p, b: error(run(p["net"], b[0]), b[1]), {"net": mine}, BATCH)
    assert len(found.layers) == 3 * len(mine)


def test_experts_behind_gates_stay_apart() -> None:
    params = {"experts": {"w": normal(2, 3, 6, 6)}, "gate": dense(4, 6, 3)}

    def loss(p: Any, b: Any) -> Any:
        gates = jax.nn.softmax(b[0] @ p["gate"]["w"] + p["gate"]["b"])
        return error(sum(gates[..., i : i + 1] * (b[0] @ p["experts"]["w"][i]) for i in range(3)), b[1])

    names = oracle.names(agreeing(loss, params, BATCH))
    assert sorted(names) == ["experts[0]", "experts[1]", "experts[2]", "gate"]


def test_linear_members_that_are_stacked_stay_apart() -> None:
    params = {"critics": {"w": np.stack([normal(i, 6, 1) for i in (2, 3)])}}

    def loss(p: Any, b: Any) -> Any:
        values = jnp.stack([b[0] @ p["critics"]["w"][i] for i in range(2)])
        return jnp.mean((values - b[1].mean(-1, keepdims=True)) ** 2)

    assert oracle.names(agreeing(loss, params, BATCH)) == ["critics[0]", "critics[1]"]
