"""Leaves of every kind and shape: what is differentiated, what is passed through, and how it is named."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Connection
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, agreeing, apply, block, dense, error, normal, two_layers


class Kernel(NamedTuple):
    kernel: Any
    bias: Any


@partial(jax.tree_util.register_dataclass, data_fields=["inner", "rest"], meta_fields=["width"])
@dataclasses.dataclass
class Model:
    inner: Any
    rest: Any
    width: int = 4


class Box:
    def __init__(self, value: Any) -> None:
        self.value = value


jax.tree_util.register_pytree_node(Box, lambda box: ((box.value,), None), lambda _, parts: Box(*parts))


def test_leaves_in_containers_of_every_kind_are_named_as_code() -> None:
    params = Model(Kernel(normal(1, 4, 4), normal(2, 4)), {3: [Box(normal(3, 4, 4)), (normal(4, 4),)]})

    def loss(p: Any, b: Any) -> Any:
        h = jnp.tanh(b[0] @ p.inner.kernel + p.inner.bias)
        return error(h @ p.rest[3][0].value + p.rest[3][1][0], b[1])

    found = agreeing(loss, params, BATCH)
    assert [p.name for p in found.parameters] == [
        "inner.kernel",
        "inner.bias",
        "rest[3][0][0]",
        "rest[3][1][0]",
    ]
    assert oracle.names(found) == ["inner", "rest[3][0]", "rest[3][1]"]


def test_keys_that_look_like_paths_stay_apart() -> None:
    params = {"a": {"b": {"w": normal(1, 4, 4)}}, "a.b": {"w": normal(2, 4, 4)}, "x\n\x1b[31m": normal(3, 4)}

    def loss(p: Any, b: Any) -> Any:
        return error(jnp.tanh(b[0] @ p["a"]["b"]["w"]) @ p["a.b"]["w"] + p["x\n\x1b[31m"], b[1])

    found = agreeing(loss, params, BATCH)
    assert len({p.name for p in found.parameters}) == 3
    assert len(set(oracle.names(found))) == len(found.layers) == 3


def test_flat_parameters_are_grouped_by_the_products_they_meet_in() -> None:
    params = {"w1": normal(1, 4, 4), "b1": normal(2, 4), "w2": normal(3, 4, 4), "b2": normal(4, 4)}

    def loss(p: Any, b: Any) -> Any:
        return error(jnp.tanh(b[0] @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"], b[1])

    found = agreeing(loss, params, BATCH)
    assert [layer.parameters for layer in found.layers] == [("b1", "w1"), ("b2", "w2")]
    assert oracle.names(found) == ["w1", "w2"]


def test_parameters_that_are_one_array_are_one_layer() -> None:
    found = agreeing(lambda p, b: error(b[0] @ p, b[1]), normal(1, 4, 4), BATCH)
    assert oracle.names(found) == ["params"]


def test_leaves_that_are_not_floating_pass_through() -> None:
    extra = {
        "typed": jax.random.key(0),
        "raw": np.array([0, 1], np.uint32),
        "heads": 2,
        "flag": True,
        "nothing": None,
        "step": np.int32(3),
        "mask": np.tril(np.ones((4, 4), bool)),
        "order": np.arange(8)[::-1].copy(),
    }

    def loss(p: Any, b: Any) -> Any:
        w = jnp.where(p["mask"], p["first"]["w"], 0.0)
        h = jnp.tanh(b[0][p["order"]] @ w + p["first"]["b"])
        h = h.reshape(8, p["heads"], -1).reshape(8, 4) if p["flag"] else h
        h = h * jax.random.bernoulli(p["typed"], 0.5, h.shape) + jax.random.normal(p["raw"], h.shape)
        return error(apply(p["second"], h), b[1]) * p["step"]

    found = agreeing(loss, TWO | extra, BATCH)
    assert oracle.names(found) == ["first", "second"]
    assert len(found.parameters) == 4


def test_python_floats_are_parameters_and_are_looked_ahead() -> None:
    params = {**TWO, "gain": 0.0, "shift": 1.5}

    def loss(p: Any, b: Any) -> Any:
        return error(b[0] + p["gain"] * two_layers(p, b[0]), b[1]) + p["shift"]

    found = agreeing(loss, params, BATCH)
    assert oracle.parameter(found, "gain").shape == ()
    assert oracle.parameter(found, "shift").gradient_norm == 1
    assert oracle.parameter(found, "first.w").nonzero_after_steps is True


def test_numpy_float64_leaves_are_measured_as_jax_takes_them() -> None:
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), TWO)
    found = agreeing(lambda p, b: error(two_layers(p, b[0]), b[1]), params, BATCH)
    assert {p.dtype for p in found.parameters} == {"float32"}


def test_leaves_without_elements_have_zeros_and_no_nan() -> None:
    empty = {"w": np.zeros((0, 4), np.float32), "b": np.zeros(0, np.float32)}

    def loss(p: Any, b: Any) -> Any:
        return error(two_layers(p, b[0]) + jnp.sum(jnp.ones((8, 0)) @ p["empty"]["w"]), b[1])

    found = agreeing(loss, {**TWO, "empty": empty}, BATCH)
    layer = oracle.layer(found, "empty")
    assert (layer.size, layer.gradient_norm, layer.weight_rms) == (0, 0, 0)
    assert not any(np.isnan(p.gradient_rms) for p in found.parameters)


def test_a_loop_over_no_layers_is_still_listed() -> None:
    none = {"w": np.zeros((0, 4, 4), np.float32), "b": np.zeros((0, 4), np.float32)}

    def loss(p: Any, b: Any) -> Any:
        return error(apply(p["head"], lax.scan(block, b[0], p["none"])[0]), b[1])

    found = agreeing(loss, {"none": none, "head": dense(1, 4, 4)}, BATCH)
    assert {p.layer for p in found.parameters} <= {layer.name for layer in found.layers}


def test_a_loss_without_a_batch_measures_the_data_it_closes_over() -> None:
    closed = agreeing(lambda p: error(two_layers(p, BATCH[0]), BATCH[1]), TWO)
    given = oracle.measured(lambda p, b: error(two_layers(p, b[0]), b[1]), TWO, BATCH)
    assert [layer.delta_norm for layer in closed.layers] == pytest.approx(
        [layer.delta_norm for layer in given.layers], rel=1e-6
    )


def test_a_loss_of_weights_alone_has_rows_without_activations() -> None:
    found = agreeing(lambda p: jnp.sum(p["w"] ** 2), {"w": normal(1, 3)})
    assert oracle.names(found) == ["w"]
    assert oracle.layer(found, "w").activation_rms is None


def test_running_statistics_in_the_auxiliary_output_are_state() -> None:
    norm = {"scale": np.ones(4, np.float32), "bias": np.zeros(4, np.float32), "mean": np.zeros(4, np.float32)}
    params = {"first": {"w": TWO["first"]["w"]}, "norm": norm, "unused": normal(5, 4)}

    def loss(p: Any, b: Any) -> Any:
        z = b[0] @ p["first"]["w"]
        h = (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-5) * p["norm"]["scale"] + p["norm"]["bias"]
        return error(h, b[1]), {"mean": 0.9 * p["norm"]["mean"] + 0.1 * z.mean(0)}

    connections = oracle.connections(agreeing(loss, params, BATCH))
    assert connections.pop("norm.mean") is Connection.STATE
    assert connections.pop("unused") is Connection.DISCONNECTED
    assert set(connections.values()) == {Connection.CONNECTED}


CUTS = {
    "stop_gradient": lax.stop_gradient,
    "round": jnp.round,
    "gt": lambda w: (w > 0).astype(jnp.float32),
    "convert_element_type": lambda w: w.astype(jnp.int32).astype(jnp.float32),
    "argmax": lambda w: jnp.broadcast_to(jnp.argmax(w, 0).astype(jnp.float32), w.shape),
}


@pytest.mark.parametrize(("op", "cut"), CUTS.items(), ids=CUTS)
def test_a_cut_parameter_names_the_operation_and_its_line(op: str, cut: Any) -> None:
    def loss(p: Any, b: Any) -> Any:
        hard = cut(p["first"]["w"])
        return error(apply(p["second"], b[0] @ hard + p["first"]["b"]), b[1])

    found = agreeing(loss, TWO, BATCH)
    w = oracle.parameter(found, "first.w")
    assert w.connection is Connection.BLOCKED
    assert [(c.op, c.on_parameter) for c in w.cuts] == [(op, True)]
    assert w.cuts[0].source is not None
    assert op in ("gt", "convert_element_type", "argmax") or w.cuts[0].source.text.startswith("hard = cut(")


def test_a_cut_on_an_activation_blocks_all_below_and_none_above() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = lax.stop_gradient(jnp.tanh(apply(p["first"], b[0])))
        return error(apply(p["second"], h), b[1])

    found = agreeing(loss, TWO, BATCH)
    assert oracle.parameter(found, "first.w").connection is Connection.BLOCKED
    assert [c.on_parameter for c in oracle.parameter(found, "first.w").cuts] == [False]
    assert oracle.parameter(found, "second.w").connection is Connection.CONNECTED


def test_a_second_path_around_a_cut_connects() -> None:
    def loss(p: Any, b: Any) -> Any:
        h = jnp.tanh(apply(p["first"], b[0]))
        return error(apply(p["second"], h + lax.stop_gradient(jnp.sign(h) - h)), b[1])

    assert set(oracle.connections(agreeing(loss, TWO, BATCH)).values()) == {Connection.CONNECTED}
