"""Members of an ensemble and experts: a row each at one depth, with the numbers of each member alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Measurement
from gradscope.runs.check import check_loss
from tests.trace import oracle
from tests.trace.oracle import BATCH, CELL, SEQUENCE, TWO, agreeing, apply, block, dense, error, normal, step

MEMBERS = 3
tree = jax.tree.map


def members(params: Any) -> Any:
    return tree(lambda leaf: np.stack([leaf, 0.9 * leaf, 0.8 * leaf]), params)


def as_each_alone(found: Measurement, alone: Callable[[Any], Any], params: Any, batch: Any) -> None:
    """Every row of member i is the layer of a network that has the parameters of member i only."""
    for i in range(MEMBERS):
        one = oracle.measured(alone, tree(lambda leaf, i=i: leaf[i], params), batch)
        for layer in one.layers:
            row = oracle.layer(found, f"{layer.name}[{i}]")
            assert row.delta_norm == pytest.approx(layer.delta_norm / MEMBERS, rel=1e-5)
            assert row.gradient_norm == pytest.approx(layer.gradient_norm / MEMBERS, rel=1e-5)
            assert row.activation_rms == pytest.approx(layer.activation_rms, rel=1e-5)
            assert (row.depth, row.size, row.op) == (layer.depth, layer.size, layer.op)
            assert (row.fan_in, row.activation) == (layer.fan_in, layer.activation)
    assert len(found.layers) == MEMBERS * len(one.layers)


def mean_over_members(alone: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda p, b: jnp.mean(jax.vmap(alone, in_axes=(0, None))(p, b))


def dense_net(p: Any, b: Any) -> Any:
    return error(apply(p["second"], jax.nn.relu(apply(p["first"], b[0]))), b[1])


def normalized_net(p: Any, b: Any) -> Any:
    h = apply(p["first"], b[0])
    h = (h - h.mean(-1, keepdims=True)) * (lax.rsqrt(h.var(-1, keepdims=True) + 1e-5) * p["norm"]["scale"])
    return error(apply(p["second"], jnp.tanh(h + p["norm"]["bias"])), b[1])


def convolution(p: Any, x: Any) -> Any:
    dims = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, p["kernel"], (1, 1), "SAME", dimension_numbers=dims) + p["bias"]


def convolutional_net(p: Any, b: Any) -> Any:
    return jnp.mean(convolution(p["second"], jax.nn.relu(convolution(p["first"], b))) ** 2)


def lookup_net(p: Any, b: Any) -> Any:
    return error(apply(p["out"], jnp.tanh(p["embed"]["table"][b[0]])), b[1])


def attention_net(p: Any, b: Any) -> Any:
    q, k, v = (jnp.einsum("bsd,hdk->bhsk", b[0], p[name]["w"]) for name in "qkv")
    mixed = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2)) @ v
    return error(jnp.einsum("bhsk,hkd->bsd", mixed, p["out"]["w"]), b[1])


def recurrent_net(p: Any, b: Any) -> Any:
    h = lax.scan(lambda h, x: (step(p["cell"], h, x), None), jnp.zeros((3, 4)), b[0])[0]
    return error(apply(p["head"], h), b[1])


HEADS = {name: {"w": normal(i, 2, 4, 2)} for i, name in enumerate("qkv")} | {"out": {"w": normal(4, 2, 2, 4)}}
NORM = {"scale": normal(1, 4), "bias": normal(2, 4)}
KERNELS = {
    "first": {"kernel": normal(1, 3, 3, 2, 5, scale=0.3), "bias": normal(2, 5)},
    "second": {"kernel": normal(3, 3, 3, 5, 4, scale=0.2), "bias": normal(4, 4)},
}
IDS = (np.arange(8) % 11, BATCH[1])
TOKENS = (normal(5, 3, 5, 4), normal(6, 3, 5, 4))
NETS: dict[str, tuple[Callable[[Any, Any], Any], Any, Any]] = {
    "dense layers": (dense_net, TWO, BATCH),
    "a normalization": (normalized_net, {**TWO, "norm": NORM}, BATCH),
    "convolutions": (convolutional_net, KERNELS, normal(5, 2, 6, 6, 2)),
    "an embedding": (lookup_net, {"embed": {"table": normal(1, 11, 4)}, "out": dense(2, 4, 4)}, IDS),
    "attention": (attention_net, HEADS, TOKENS),
    "a recurrence": (recurrent_net, {"cell": CELL, "head": dense(9, 4, 4)}, SEQUENCE),
}


@pytest.mark.few(3)
@pytest.mark.parametrize(("net", "params", "batch"), NETS.values(), ids=NETS)
def test_each_member_of_an_ensemble_has_its_rows_in_a_network_with(net: Any, params: Any, batch: Any) -> None:
    found = oracle.measured(mean_over_members(net), members(params), batch)
    as_each_alone(found, lambda p, b: net(p, b), members(params), batch)


def test_members_with_data_of_their_own_have_their_rows() -> None:
    def loss(p: Any, b: Any) -> Any:
        return jnp.mean(jax.vmap(dense_net)(p, tree(lambda leaf: jnp.stack([leaf] * MEMBERS), b)))

    as_each_alone(agreeing(loss, members(TWO), BATCH), dense_net, members(TWO), BATCH)


@pytest.mark.few(1)
@pytest.mark.parametrize("members_first", [True, False])
def test_members_mapped_over_each_example_have_their_rows(members_first: bool) -> None:
    def loss(p: Any, b: Any) -> Any:
        over_batch = jax.vmap(dense_net, in_axes=(None, 0))
        if members_first:
            return jnp.mean(jax.vmap(over_batch, in_axes=(0, None))(p, b))
        return jnp.mean(jax.vmap(jax.vmap(dense_net, in_axes=(0, None)), in_axes=(None, 0))(p, b))

    as_each_alone(agreeing(loss, members(TWO), BATCH), dense_net, members(TWO), BATCH)


def test_the_index_of_a_member_stands_where_the_whole_ensemble_is() -> None:
    params = {"critic": members(TWO), "actor": TWO}

    def loss(p: Any, b: Any) -> Any:
        worst = jnp.max(jax.vmap(dense_net, in_axes=(0, None))(p["critic"], b))
        return worst + dense_net(p["actor"], b)

    names = oracle.names(agreeing(loss, params, BATCH))
    assert names[:3] == ["critic[0].first", "critic[1].first", "critic[2].first"]
    assert {"critic[2].second", "actor.first", "actor.second"} < set(names)


def test_the_index_of_a_member_is_not_taken_for_that_of_a_list() -> None:
    def net(p: Any, b: Any) -> Any:
        return error(apply(p["layers"][1], jnp.tanh(apply(p["layers"][0], b[0]))), b[1])

    params = members({"layers": [TWO["first"], TWO["second"]]})
    names = oracle.names(agreeing(mean_over_members(net), params, BATCH))
    assert names == [f"p[{i}].layers[{layer}]" for layer in range(2) for i in range(MEMBERS)]


def test_an_ensemble_of_stacks_has_both_indices() -> None:
    one = {"blocks": {"w": normal(3, 2, 4, 4, scale=0.5), "b": normal(4, 2, 4)}, "head": dense(5, 4, 4)}

    def net(p: Any, b: Any) -> Any:
        return error(apply(p["head"], lax.scan(block, b[0], p["blocks"])[0]), b[1])

    found = agreeing(mean_over_members(net), members(one), BATCH)
    assert {layer.name: layer.depth for layer in found.layers} == {
        **{f"blocks[{i}][{j}]": j + 1 for i in range(MEMBERS) for j in range(2)},
        **{f"head[{i}]": 3 for i in range(MEMBERS)},
    }
    for i in range(MEMBERS):
        alone = oracle.measured(net, tree(lambda leaf, i=i: leaf[i], members(one)), BATCH)
        expected = oracle.layer(alone, "blocks[1]").delta_norm / MEMBERS
        assert oracle.layer(found, f"blocks[{i}][1]").delta_norm == pytest.approx(expected, rel=1e-5)


EXPERTS = {
    "gate": {"w": normal(1, 4, 3)},
    "experts": {
        "w1": normal(2, 3, 4, 8),
        "b1": normal(3, 3, 8),
        "w2": normal(4, 3, 8, 4),
        "b2": normal(5, 3, 4),
    },
}


def mixture(p: Any, x: Any) -> Any:
    e = p["experts"]
    h = jnp.tanh(jnp.einsum("bd,edf->bef", x, e["w1"]) + e["b1"])
    out = jnp.einsum("bef,efd->bed", h, e["w2"]) + e["b2"]
    return jnp.einsum("be,bed->bd", jax.nn.softmax(x @ p["gate"]["w"]), out)


def test_experts_in_one_array_have_a_row_each_at_one_depth() -> None:
    def slowly(p: Any, b: Any, bump: Any) -> Any:
        gate, e = jax.nn.softmax(b[0] @ p["gate"]["w"]), p["experts"]
        total = 0.0
        for i in range(3):
            h = jnp.tanh(bump(f"experts[{i}].w1", b[0] @ e["w1"][i] + e["b1"][i]))
            total += gate[:, i, None] * bump(f"experts[{i}].w2", h @ e["w2"][i] + e["b2"][i])
        return error(total, b[1])

    found = agreeing(lambda p, b: error(mixture(p, b[0]), b[1]), EXPERTS, BATCH)
    slow = oracle.deltas(slowly, EXPERTS, BATCH)
    assert sorted(oracle.names(found)) == sorted([*slow, "gate"])
    for name, delta in slow.items():
        row = oracle.layer(found, name)
        assert row.delta_norm == pytest.approx(oracle.norm(delta), rel=1e-5)
        assert row.depth == (1 if name.endswith("w1") else 2)


def test_experts_in_a_stack_of_blocks_have_both_indices() -> None:
    params = {"blocks": tree(lambda leaf: np.stack([leaf, 0.5 * leaf]), EXPERTS), "head": dense(9, 4, 4)}

    def loss(p: Any, b: Any) -> Any:
        h = lax.scan(lambda h, q: (h + mixture(q, h), None), b[0], p["blocks"])[0]
        return error(apply(p["head"], h), b[1])

    found = oracle.measured(loss, params, BATCH)
    depths = {layer.name: layer.depth for layer in found.layers}
    assert [depths[f"blocks[{i}].experts[{e}].w1"] for i in (0, 1) for e in (0, 1, 2)] == [1, 1, 1, 3, 3, 3]
    assert depths["blocks[1].gate"] == 3


def plain_attention(p: Any, b: Any) -> Any:
    return attention_net(p, b)


def depthwise(p: Any, b: Any) -> Any:
    out = lax.conv_general_dilated(b[0], p["conv"]["w"], (1, 1), "SAME", feature_group_count=6)
    return error(apply(p["head"], out.mean((2, 3))), b[1])


def diagonal_state_space(p: Any, b: Any) -> Any:
    state = jnp.tanh(b[0][..., None] * p["a"]["w"])
    return error(apply(p["head"], jnp.einsum("bhn,hn->bh", state, p["c"]["w"])), b[1])


def positions(p: Any, b: Any) -> Any:
    return error((b[0] + p["position"]["table"]) @ p["head"]["w"] + p["head"]["b"], b[1])


IMAGES = (normal(5, 8, 6, 5, 5), normal(6, 8, 4))
ONE_LAYER: dict[str, tuple[Any, Any, Any]] = {
    "heads of attention": (plain_attention, HEADS, TOKENS),
    "channels of a depthwise convolution": (
        depthwise,
        {"conv": {"w": normal(1, 6, 1, 3, 3)}, "head": dense(3, 6, 4)},
        IMAGES,
    ),
    "channels of a diagonal state space": (
        diagonal_state_space,
        {"a": {"w": normal(1, 4, 3)}, "c": {"w": normal(2, 4, 3)}, "head": dense(3, 4, 4)},
        BATCH,
    ),
    "positions": (positions, {"position": {"table": normal(1, 5, 4)}, "head": dense(3, 4, 4)}, TOKENS),
}


@pytest.mark.few(2)
@pytest.mark.parametrize(("loss", "params", "batch"), ONE_LAYER.values(), ids=ONE_LAYER)
def test_one_layer_each_are(loss: Any, params: Any, batch: Any) -> None:
    assert not [name for name in oracle.names(agreeing(loss, params, batch)) if "[" in name]


def test_members_side_by_side_are_no_depth_in_which_a_gradient_vanishes() -> None:
    """Eight members, each with a tenth of the weights of the one before: δ falls from member to member."""
    scales = 0.1 ** np.arange(8, dtype=np.float32)
    params = tree(lambda leaf: scales.reshape(8, *(1,) * leaf.ndim) * leaf, TWO)
    report = check_loss(lambda p, b: jnp.mean(mean_over_members(dense_net)(p, b)), params, BATCH)
    flow = {finding.rule for finding in report.findings} & {"vanishing-gradient", "exploding-gradient"}
    assert not flow
    assert len(report.flow.layers) == 16
