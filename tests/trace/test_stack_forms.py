"""The many ways to take layers out of a stack: a row each, and the numbers of the loop unrolled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Measurement
from tests.trace import oracle
from tests.trace.oracle import BATCH, STACK, agreeing, apply, block, dense, error, normal

tree = jax.tree.map
HEAD = STACK["head"]


def unrolled(order: list[int]) -> Callable[..., Any]:
    """`STACK` in plain Python, with a perturbation at each use of each layer."""

    def network(p: Any, b: Any, bump: Any) -> Any:
        h = b[0]
        for step, i in enumerate(order):
            h = jnp.tanh(bump(f"{step}", h @ p["blocks"]["w"][i] + p["blocks"]["b"][i]))
        return error(apply(p["head"], h), b[1])

    return network


def same_as_unrolled(found: Measurement, order: list[int], params: Any = STACK) -> None:
    """Names, order, depth, gradient and δ of each row."""
    slow = oracle.deltas(unrolled(order), params, BATCH)
    gradients = jax.grad(lambda p: unrolled(order)(p, BATCH, oracle.unbumped))(params)["blocks"]
    assert oracle.names(found) == [*(f"blocks[{i}]" for i in dict.fromkeys(order)), "head"]
    for i in set(order):
        row = oracle.layer(found, f"blocks[{i}]")
        uses = [step for step, each in enumerate(order) if each == i]
        assert (row.depth, row.size, row.op, row.fan_in) == (uses[0] + 1, 20, "dot_general", 4)
        assert row.delta_rms == pytest.approx(oracle.pooled_rms([slow[f"{s}"] for s in uses]), rel=1e-5)
        expected = np.hypot(oracle.norm(gradients["w"][i]), oracle.norm(gradients["b"][i]))
        assert row.gradient_norm == pytest.approx(expected, rel=1e-5)
    assert oracle.layer(found, "head").depth == len(order) + 1
    assert (found.recurrences, found.unseen) == ((), ())


def at(p: Any, i: Any) -> Any:
    return tree(lambda leaf: leaf[i], p)


def counted(length: int, index: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda p, h: lax.fori_loop(0, length, lambda i, h: block(h, at(p, index(i)))[0], h)


def scanned(index: Callable[[Any, Any], Any], **how: Any) -> Callable[..., Any]:
    return lambda p, h: lax.scan(lambda h, i: block(h, index(p, i)), h, jnp.arange(3), **how)[0]


def carried(p: Any, h: Any) -> Any:
    step = lambda i, s: (s[0], block(s[1], at(s[0], i))[0])  # noqa: E731
    return lax.fori_loop(0, 3, step, (p, h))[1]


def own_counter(p: Any, h: Any) -> Any:
    def step(state: Any, _: Any) -> Any:
        h, i = state
        return (block(h, at(p, i))[0], i - 1), None

    return lax.scan(step, (h, 2), None, 3)[0][0]


def in_groups(p: Any, h: Any) -> Any:
    groups = tree(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), p)
    return lax.scan(jax.checkpoint(lambda h, group: lax.scan(block, h, group)), h, groups)[0]


def groups_by_index(p: Any, h: Any) -> Any:
    groups = tree(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), p)
    return lax.fori_loop(0, 2, lambda i, h: lax.scan(block, h, at(groups, i))[0], h)


def by_branch(p: Any, h: Any) -> Any:
    def step(h: Any, row: Any) -> Any:
        return lax.cond(h.sum() > 1e9, lambda h, r: (h, None), block, h, row)

    return lax.scan(step, h, p)[0]


FORMS: dict[str, tuple[Callable[..., Any], list[int]]] = {
    "indexed by a counter": (counted(3, lambda i: i), [0, 1, 2]),
    "indexed backwards": (counted(3, lambda i: 2 - i), [2, 1, 0]),
    "used in turn": (counted(6, lambda i: i % 3), [0, 1, 2, 0, 1, 2]),
    "used twice each": (counted(6, lambda i: i // 2), [0, 0, 1, 1, 2, 2]),
    "carried along": (carried, [0, 1, 2]),
    "counted by the loop itself": (own_counter, [2, 1, 0]),
    "indexed in reverse": (scanned(at, reverse=True), [2, 1, 0]),
    "taken": (scanned(lambda p, i: tree(lambda leaf: jnp.take(leaf, i, axis=0), p)), [0, 1, 2]),
    "looked up": (
        scanned(lambda p, i: tree(lambda leaf: lax.dynamic_index_in_dim(leaf, i, 0, False), p)),
        [0, 1, 2],
    ),
    "unrolled by the compiler": (lambda p, h: lax.scan(block, h, p, unroll=2)[0], [0, 1, 2]),
    "scanned in reverse": (lambda p, h: lax.scan(block, h, p, reverse=True)[0], [2, 1, 0]),
    "scanned in another order": (lambda p, h: lax.scan(block, h, at(p, np.array([2, 0, 1])))[0], [2, 0, 1]),
    "turned round before": (lambda p, h: lax.scan(block, h, at(p, slice(None, None, -1)))[0], [2, 1, 0]),
    "scanned twice": (lambda p, h: lax.scan(block, lax.scan(block, h, p)[0], p)[0], [0, 1, 2, 0, 1, 2]),
    "in two parts": (
        lambda p, h: lax.scan(block, lax.scan(block, h, at(p, slice(0, 1)))[0], at(p, slice(1, 3)))[0],
        [0, 1, 2],
    ),
    "cut into groups": (in_groups, [0, 1, 2, 3]),
    "groups by index": (groups_by_index, [0, 1, 2, 3]),
    "by constant indices": (lambda p, h: block(block(h, at(p, 1))[0], at(p, 0))[0], [1, 0]),
    "inside two jits": (jax.jit(lambda p, h: lax.scan(jax.jit(block), h, p)[0]), [0, 1, 2]),
    "inside a branch": (by_branch, [0, 1, 2]),
}


@pytest.mark.few(6)
@pytest.mark.parametrize(("run", "order"), FORMS.values(), ids=FORMS)
def test_each_layer_of_a_stack_has_its_row_when_it_is(run: Callable[..., Any], order: list[int]) -> None:
    layers = max(order) + 1
    params = {"blocks": {"w": normal(3, layers, 4, 4, scale=0.5), "b": normal(4, layers, 4)}, "head": HEAD}
    found = agreeing(lambda p, b: error(apply(p["head"], run(p["blocks"], b[0])), b[1]), params, BATCH)
    same_as_unrolled(found, order, params)


def test_a_stack_of_a_program_without_a_batch_is_told_apart_as_well() -> None:
    run = scanned(at)
    found = agreeing(lambda p: error(apply(p["head"], run(p["blocks"], BATCH[0])), BATCH[1]), STACK)
    assert oracle.names(found) == ["blocks[0]", "blocks[1]", "blocks[2]", "head"]


def test_a_stack_along_another_axis_than_the_first_has_its_rows() -> None:
    """`nn.scan` with `variable_axes={"params": 1}`."""
    params = {**STACK, "blocks": {"w": np.moveaxis(STACK["blocks"]["w"], 0, 1), "b": STACK["blocks"]["b"]}}

    def loss(p: Any, b: Any) -> Any:
        blocks = {"w": jnp.moveaxis(p["blocks"]["w"], 1, 0), "b": p["blocks"]["b"]}
        return error(apply(p["head"], lax.scan(block, b[0], blocks)[0]), b[1])

    same_as_unrolled(agreeing(loss, params, BATCH), [0, 1, 2])


@pytest.mark.parametrize("reverse", [False, True])
def test_layers_of_a_list_stacked_in_the_loss_have_a_step_each(reverse: bool) -> None:
    params = {"layers": [dense(i, 4, 4) for i in range(3)]}
    order = [2, 1, 0] if reverse else [0, 1, 2]

    def loss(p: Any, b: Any) -> Any:
        stacked = tree(lambda *q: jnp.stack(q), *p["layers"])
        return error(lax.scan(block, b[0], stacked, reverse=reverse)[0], b[1])

    def slowly(p: Any, b: Any, bump: Any) -> Any:
        h = b[0]
        for i in order:
            h = jnp.tanh(bump(f"layers[{i}]", apply(p["layers"][i], h)))
        return error(h, b[1])

    found, slow = agreeing(loss, params, BATCH), oracle.deltas(slowly, params, BATCH)
    assert oracle.names(found) == [f"layers[{i}]" for i in order]
    assert [layer.depth for layer in found.layers] == [1, 2, 3]
    assert (found.recurrences, found.unseen) == ((), ())
    for layer in found.layers:
        assert layer.delta_norm == pytest.approx(oracle.norm(slow[layer.name]), rel=1e-5)


NESTED = {
    "blocks": {
        "gain": {"scale": normal(1, 2, 4)},
        "inner": {"w": normal(3, 2, 3, 4, 4, scale=0.5), "b": normal(4, 2, 3, 4)},
    },
    "head": HEAD,
}


def test_a_stack_of_stacks_has_an_index_for_each() -> None:
    def outer(h: Any, group: Any) -> Any:
        return lax.scan(block, h * group["gain"]["scale"], group["inner"])[0], None

    def loss(p: Any, b: Any) -> Any:
        return error(apply(p["head"], lax.scan(outer, b[0], p["blocks"])[0]), b[1])

    def slowly(p: Any, b: Any, bump: Any) -> Any:
        h, q = b[0], p["blocks"]
        for i in range(2):
            h = bump(f"blocks[{i}].gain", h * q["gain"]["scale"][i])
            for j in range(3):
                z = h @ q["inner"]["w"][i, j] + q["inner"]["b"][i, j]
                h = jnp.tanh(bump(f"blocks[{i}].inner[{j}]", z))
        return error(apply(p["head"], h), b[1])

    found, slow = agreeing(loss, NESTED, BATCH), oracle.deltas(slowly, NESTED, BATCH)
    assert oracle.names(found) == [
        *("blocks[0].gain", "blocks[0].inner[0]", "blocks[0].inner[1]", "blocks[0].inner[2]"),
        *("blocks[1].gain", "blocks[1].inner[0]", "blocks[1].inner[1]", "blocks[1].inner[2]"),
        "head",
    ]
    assert [layer.depth for layer in found.layers] == list(range(1, 10))
    gradient = oracle.plain(loss, NESTED, BATCH)[1]
    for layer in found.layers[:-1]:
        assert layer.delta_norm == pytest.approx(oracle.norm(slow[layer.name]), rel=1e-5)
    expected = np.hypot(oracle.norm(gradient[1][1, 2]), oracle.norm(gradient[2][1, 2]))
    assert oracle.layer(found, "blocks[1].inner[2]").gradient_norm == pytest.approx(expected, rel=1e-5)


ATTENTION = {k: normal(i, 3, 4, 4, scale=0.5) for i, k in enumerate(("wq", "wk", "wv", "wo"))}
MLP = {
    "in": {"w": normal(5, 3, 4, 8, scale=0.5), "b": normal(6, 3, 8)},
    "out": {"w": normal(7, 3, 8, 4, scale=0.4), "b": normal(8, 3, 4)},
}


def test_a_stack_of_blocks_with_many_layers_reads_as_it_does_unrolled() -> None:
    """Layers of one block stand together, with the index after the path that holds the whole block."""
    params = {"blocks": {"attn": ATTENTION, "mlp": MLP}, "head": HEAD}

    def transformer(h: Any, p: Any) -> Any:
        q, k, v = (h @ p["attn"][name] for name in ("wq", "wk", "wv"))
        h = h + jax.nn.softmax(q @ k.T) @ v @ p["attn"]["wo"]
        return h + apply(p["mlp"]["out"], jnp.tanh(apply(p["mlp"]["in"], h))), None

    def scanned_blocks(p: Any, b: Any) -> Any:
        return error(apply(p["head"], lax.scan(transformer, b[0], p["blocks"])[0]), b[1])

    def python_blocks(p: Any, b: Any) -> Any:
        h = b[0]
        for each in p["blocks"]:
            h, _ = transformer(h, each)
        return error(apply(p["head"], h), b[1])

    found = oracle.measured(scanned_blocks, params, BATCH)
    rows = [tree(lambda leaf, i=i: leaf[i], params["blocks"]) for i in range(3)]
    listed = oracle.measured(python_blocks, {**params, "blocks": rows}, BATCH)
    assert oracle.names(found) == oracle.names(listed)
    assert [layer.depth for layer in found.layers] == [layer.depth for layer in listed.layers]
    for ours, theirs in zip(found.layers, listed.layers, strict=True):
        assert ours.delta_norm == pytest.approx(theirs.delta_norm, rel=1e-4)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-4)
        assert ours.activation_rms == pytest.approx(theirs.activation_rms, rel=1e-4)
        assert (ours.op, ours.fan_in, ours.size) == (theirs.op, theirs.fan_in, theirs.size)


def test_leaves_at_the_root_have_their_index_after_their_own_name() -> None:
    found = agreeing(lambda p, b: error(lax.scan(block, b[0], p)[0], b[1]), STACK["blocks"], BATCH)
    assert oracle.names(found) == ["w[0]", "w[1]", "w[2]"]
    only = STACK["blocks"]["w"]
    found = agreeing(lambda p, b: error(lax.scan(lambda h, w: (h @ w, None), b[0], p)[0], b[1]), only, BATCH)
    assert oracle.names(found) == ["params[0]", "params[1]", "params[2]"]


HOLDING: dict[str, tuple[Any, list[str]]] = {
    "a list in it": ({"layers": [0, 1]}, ["blocks[{}].layers[0]", "blocks[{}].layers[1]"]),
    "one module in it": ({"lin": 0}, ["blocks[{}].lin"]),
    "two modules in it": ({"up": 0, "down": 1}, ["blocks[{}].up", "blocks[{}].down"]),
    "a module with a list in it": (
        {"mlp": {"layers": [0, 1]}},
        ["blocks[{}].mlp.layers[0]", "blocks[{}].mlp.layers[1]"],
    ),
}


@pytest.mark.parametrize("above", ["", "trunk"])
@pytest.mark.parametrize("name", HOLDING)
def test_the_index_stands_at_a_stacked_module_with(name: str, above: str) -> None:
    shape, names = HOLDING[name]
    blocks = tree(lambda seed: {"w": normal(seed, 3, 4, 4, scale=0.5), "b": normal(seed + 5, 3, 4)}, shape)
    params = {"trunk": {"blocks": blocks}} if above else {"blocks": blocks}

    def layer(h: Any, p: Any) -> Any:
        linear = lambda x: isinstance(x, dict) and "w" in x  # noqa: E731
        for each in jax.tree.leaves(p, is_leaf=linear):
            h = jnp.tanh(apply(each, h))
        return h, None

    def loss(p: Any, b: Any) -> Any:
        run = lax.scan(layer, b[0], p["trunk"]["blocks"] if above else p["blocks"])[0]
        return error(apply(p["head"], run), b[1])

    found = oracle.names(agreeing(loss, {**params, "head": HEAD}, BATCH))
    before = f"{above}." if above else ""
    assert sorted(found) == sorted([*(before + n.format(i) for n in names for i in range(3)), "head"])


def test_a_stack_that_is_all_of_params_is_called_as_the_loss_calls_it() -> None:
    layers = [{"w": normal(seed, 3, 4, 4, scale=0.5)} for seed in (0, 1)]

    def loss(blocks: Any, b: Any) -> Any:
        step = lambda h, p: (jnp.tanh(h @ p["layers"][0]["w"] @ p["layers"][1]["w"]), None)  # noqa: E731
        return error(lax.scan(step, b[0], blocks)[0], b[1])

    found = oracle.names(agreeing(loss, {"layers": layers}, BATCH))
    assert found == [f"blocks[{i}].layers[{layer}]" for i in range(3) for layer in (0, 1)]


def test_modules_in_one_key_share_the_path_before_a_slash() -> None:
    """Haiku's `layer_stack` names its leaves `stack/linear`, `stack/layer_norm`."""
    params = {"stack/gain": {"scale": normal(1, 3, 4)}, "stack/linear": STACK["blocks"]}

    def layer(h: Any, p: Any) -> Any:
        return block(h * p["stack/gain"]["scale"], p["stack/linear"])

    found = agreeing(lambda p, b: error(lax.scan(layer, b[0], p)[0], b[1]), params, BATCH)
    assert oracle.names(found)[:3] == ["stack[0]/gain", "stack[0]/linear", "stack[1]/gain"]


def test_a_bias_that_all_layers_of_a_stack_share_is_a_layer_of_its_own() -> None:
    params = {"blocks": {"w": STACK["blocks"]["w"], "shared": normal(1, 4)}, "head": HEAD}

    def loss(p: Any, b: Any) -> Any:
        shared = p["blocks"]["shared"]
        h = lax.scan(lambda h, w: (jnp.tanh(h @ w + shared), None), b[0], p["blocks"]["w"])[0]
        return error(apply(p["head"], h), b[1])

    found = agreeing(loss, params, BATCH)
    rows = ["blocks.w[0]", "blocks.w[1]", "blocks.w[2]"]
    assert sorted(oracle.names(found)) == ["blocks.shared", *rows, "head"]
    deltas = [oracle.layer(found, name).delta_norm for name in rows]
    assert oracle.layer(found, "blocks.shared").delta_norm == pytest.approx(np.hypot.reduce(deltas))


def test_layers_in_an_order_that_comes_from_the_data_are_measured_together() -> None:
    def loss(p: Any, b: Any) -> Any:
        order = jnp.argsort(b[0][:3, 0])
        rows = tree(lambda leaf: leaf[order], p["blocks"])
        return error(apply(p["head"], lax.scan(block, b[0], rows)[0]), b[1])

    assert not [name for name in oracle.names(agreeing(loss, STACK, BATCH)) if "[" in name]


def test_a_weight_that_each_step_of_a_loop_is_handed_again_is_a_recurrence() -> None:
    def loss(p: Any, b: Any) -> Any:
        again = tree(lambda leaf: jnp.broadcast_to(leaf, (5, *leaf.shape)), p["cell"])
        h = lax.scan(lambda h, q: (jnp.tanh(apply(q, h)), None), b[0], again)[0]
        return error(apply(p["head"], h), b[1])

    found = agreeing(loss, {"cell": dense(1, 4, 4), "head": HEAD}, BATCH)
    assert oracle.names(found) == ["cell", "head"]
    assert oracle.recurrence(found).length == 5
    assert found.unseen == ()
