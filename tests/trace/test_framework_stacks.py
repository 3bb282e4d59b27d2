"""Stacks as the frameworks write them: rows with the names and the gradients of the framework's own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.trace import oracle
from tests.trace.oracle import measured, normal

DEPTH = 3
X, Y = normal(0, 4, 8), normal(1, 4, 1)
BATCH = (X, Y)


def rows(found: Any, names: list[str], gradients: dict[str, Any]) -> None:
    """The stacked layers have these names without their index, in turn; gradients by leaf."""
    stacked = [layer for layer in found.layers if "[" in layer.name]
    assert [layer.name for layer in stacked] == [name.format(i) for i in range(DEPTH) for name in names]
    assert [layer.depth for layer in stacked] == list(range(1, 1 + len(stacked)))
    for place, layer in enumerate(stacked):
        mine = [gradients[name][place // len(names)] for name in layer.parameters]
        assert layer.gradient_norm == pytest.approx(np.hypot.reduce([oracle.norm(g) for g in mine]), rel=1e-5)
        assert layer.delta_norm > 0
    assert (found.unseen, found.recurrences) == ((), ())


def by_name(tree: Any) -> dict[str, Any]:
    from gradscope.trace.leaves import path_name

    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


@pytest.mark.few(1)
@pytest.mark.parametrize("axis", [0, 1])
def test_layers_of_linen_scan_have_a_row_each(axis: int) -> None:
    nn = pytest.importorskip("flax.linen")

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        @nn.compact
        def __call__(self, h: Any, _: Any) -> Any:
            return h + nn.Dense(8, name="down")(nn.gelu(nn.Dense(16, name="up")(h))), None

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        @nn.compact
        def __call__(self, x: Any) -> Any:
            how = {"variable_axes": {"params": axis}, "split_rngs": {"params": True}, "length": DEPTH}
            h, _ = nn.scan(nn.remat(Block), **how)(name="blocks")(x, None)
            return nn.Dense(1, name="head")(h)

    net = Net()
    params = net.init(jax.random.key(0), X)["params"]

    def loss(p: Any, b: Any) -> Any:
        return jnp.mean((net.apply({"params": p}, b[0]) - b[1]) ** 2)

    gradients = by_name(jax.grad(loss)(params, BATCH))
    gradients = {name: np.moveaxis(g, min(axis, g.ndim - 1), 0) for name, g in gradients.items()}
    rows(measured(loss, params, BATCH), ["blocks[{}].up", "blocks[{}].down"], gradients)


def test_layers_of_nnx_scan_have_a_row_each() -> None:
    nnx = pytest.importorskip("flax.nnx")

    class Block(nnx.Module):  # type: ignore[misc, name-defined]
        def __init__(self, rngs: Any) -> None:
            self.up, self.down = nnx.Linear(8, 16, rngs=rngs), nnx.Linear(16, 8, rngs=rngs)

        def __call__(self, h: Any) -> Any:
            return h + self.down(nnx.gelu(self.up(h)))

    make = nnx.split_rngs(splits=DEPTH)(nnx.vmap(Block, in_axes=(0,), out_axes=0))
    graph, state = nnx.split(make(nnx.Rngs(0)))
    params = {"blocks": nnx.to_pure_dict(state)}

    def loss(p: Any, b: Any) -> Any:
        blocks = nnx.merge(graph, p["blocks"])
        run = nnx.scan(lambda h, block: block(h), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        return jnp.mean((run(b[0], blocks) - b[1]) ** 2)

    gradients = by_name(jax.grad(loss)(params, BATCH))
    rows(measured(loss, params, BATCH), ["blocks[{}].up", "blocks[{}].down"], gradients)


def test_layers_made_by_equinox_filter_vmap_and_scanned_have_a_row_each() -> None:
    eqx = pytest.importorskip("equinox")

    def make(key: Any) -> Any:
        up, down = jax.random.split(key)
        return {"up": eqx.nn.Linear(8, 16, key=up), "down": eqx.nn.Linear(16, 8, key=down)}

    stack = eqx.filter_vmap(make)(jax.random.split(jax.random.key(0), DEPTH))
    arrays, static = eqx.partition({"blocks": stack}, eqx.is_array)

    def step(h: Any, layer: Any) -> Any:
        block = eqx.combine(layer, static["blocks"])
        return h + block["down"](jax.nn.gelu(block["up"](h))), None

    def loss(p: Any, b: Any) -> Any:
        return jnp.mean((jax.vmap(lambda x: jax.lax.scan(step, x, p["blocks"])[0])(b[0]) - b[1]) ** 2)

    gradients = by_name(jax.grad(loss)(arrays, BATCH))
    rows(measured(loss, arrays, BATCH), ["blocks[{}].up", "blocks[{}].down"], gradients)


def test_layers_of_haiku_layer_stack_have_a_row_each() -> None:
    hk = pytest.importorskip("haiku")

    def net(x: Any) -> Any:
        def block(h: Any) -> Any:
            return h + hk.Linear(8, name="down")(jax.nn.gelu(hk.Linear(16, name="up")(h)))

        return hk.experimental.layer_stack(DEPTH, name="blocks")(block)(x)

    model = hk.transform(net)
    params = model.init(jax.random.key(0), X)

    def loss(p: Any, b: Any) -> Any:
        return jnp.mean((model.apply(p, None, b[0]) - b[1]) ** 2)

    found = measured(loss, params, BATCH)
    names = [layer.name for layer in found.layers[:2]]
    assert [name.rpartition("/")[2] for name in names] == ["up", "down"]
    assert all(name.rpartition("/")[0].endswith("[0]") for name in names)
    patterns = [name.replace("[0]", "[{}]") for name in names]
    rows(found, patterns, by_name(jax.grad(loss)(params, BATCH)))
