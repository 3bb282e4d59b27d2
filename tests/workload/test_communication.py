"""What devices send each other, against what is known of each way to split a program over 4 of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from gradscope.records import Communication
from gradscope.workload.communication import communication, least_sent, mesh_of
from tests.workload.programs import ones, traced

ROWS, IN, WIDE, OUT = 1024, 8, 16, 4
PARAMS = {"up": {"w": ones(IN, WIDE), "b": ones(WIDE)}, "down": {"w": ones(WIDE, OUT)}}
MESH = Mesh(np.array(jax.devices()[:4]), ("x",))


def put(array: Any, spec: Any, mesh: Mesh = MESH) -> Any:
    return jax.device_put(array, NamedSharding(mesh, spec))


def network(params: Any, x: Any) -> Any:
    hidden = jnp.tanh(x @ params["up"]["w"] + params["up"]["b"])
    return jnp.mean((hidden @ params["down"]["w"]) ** 2)


def read(loss: Callable[[Any, Any], Any], params: Any, batch: Any) -> Communication:
    program, inputs = traced(loss, params, batch)
    mesh = mesh_of(program, inputs)
    assert mesh is not None
    return communication(program, inputs, *mesh, None)


def told(found: Communication) -> dict[tuple[str | None, str, str], tuple[int, int]]:
    """Times and bytes by layer, kind and half."""
    rows: dict[tuple[str | None, str, str], tuple[int, int]] = {}
    for each in found.collectives:
        key = each.layer, each.kind, each.half
        count, size = rows.get(key, (0, 0))
        rows[key] = count + each.count, size + each.size
    return rows


def test_data_parallel_sums_each_gradient_once_and_the_loss() -> None:
    found = read(network, jax.tree.map(lambda a: put(a, P()), PARAMS), put(ones(ROWS, IN), P("x")))
    assert told(found) == {
        ("up", "all-reduce", "backward"): (2, 4 * (IN * WIDE + WIDE)),
        ("down", "all-reduce", "backward"): (1, 4 * WIDE * OUT),
        ("down", "all-reduce", "forward"): (1, 4),
    }
    assert {each.axes for each in found.collectives} == {("x",)}
    assert found.sent == 2 * 3 / 4 * found.size
    assert found.parameters == 4 * (IN * WIDE + WIDE + WIDE * OUT)
    lines = {
        each.layer: each.source.text for each in found.collectives if each.source and each.half != "forward"
    }
    assert 'x @ params["up"]["w"]' in lines["up"]
    assert 'hidden @ params["down"]["w"]' in lines["down"]


def test_tensor_parallel_sums_activations() -> None:
    specs = {"up": {"w": P(None, "x"), "b": P("x")}, "down": {"w": P("x", None)}}
    params = jax.tree.map(put, PARAMS, specs)
    found = read(network, params, put(ones(ROWS, IN), P()))
    assert told(found) == {("down", "all-reduce", "forward"): (1, 4 * ROWS * OUT)}
    assert found.parameters == 4 * (IN * WIDE + WIDE + WIDE * OUT) // 4


def test_fsdp_gathers_each_parameter_and_sums_each_gradient() -> None:
    specs = {"up": {"w": P("x"), "b": P("x")}, "down": {"w": P("x")}}
    found = read(network, jax.tree.map(put, PARAMS, specs), put(ones(ROWS, IN), P("x")))
    rows = told(found)
    assert rows["up", "all-gather", "forward"] == (2, 4 * (IN * WIDE + WIDE))
    assert rows["down", "all-gather", "forward"] == (1, 4 * WIDE * OUT)
    # A compiler may sum the whole and keep a part, or sum and scatter.
    summed = sum(each.size for each in found.collectives if each.kind in ("all-reduce", "reduce-scatter"))
    assert summed >= 4 * (IN * WIDE + WIDE + WIDE * OUT)
    gathered = [each for each in found.collectives if each.kind == "all-gather" and each.half == "forward"]
    assert all(each.sent == 3 / 4 * each.size for each in gathered)


def test_what_a_loop_exchanges_counts_at_each_of_its_steps() -> None:
    def loss(params: Any, micro: Any) -> Any:
        def step(total: Any, rows: Any) -> Any:
            return total + network(params, rows), None

        return lax.scan(jax.checkpoint(step), jnp.zeros(()), micro)[0]

    params = jax.tree.map(lambda a: put(a, P()), PARAMS)
    found = told(read(loss, params, put(ones(6, 32, IN), P(None, "x"))))
    assert found["down", "all-reduce", "backward"] == (6, 6 * 4 * WIDE * OUT)


def test_the_number_of_turns_of_a_while_loop_is_not_known() -> None:
    def loss(params: Any, x: Any) -> Any:
        def turn(carry: Any) -> Any:
            n, h = carry
            return n + 1, jnp.tanh(h @ params["w"])

        start = (jnp.zeros((), jnp.int32), x)
        turns = jnp.asarray(jnp.sum(x) > 0, jnp.int32) + 3
        return jnp.sum(
            lax.stop_gradient(lax.while_loop(lambda c: c[0] < turns, turn, start)[1]) @ params["v"]
        )

    params = {"w": put(ones(8, 8), P("x")), "v": put(ones(8, 8), P())}
    found = read(loss, params, put(ones(4, 8), P(None, "x")))
    assert found.open_loops >= 1


def test_layers_of_one_line_are_told_apart() -> None:
    def loss(params: Any, x: Any) -> Any:
        for layer in params["layers"]:
            x = jax.jit(lambda w, x: jnp.tanh(x @ w))(layer["w"], x)
        return jnp.mean(x)

    params = {"layers": [{"w": put(ones(IN, IN), P())} for _ in range(3)]}
    found = told(read(loss, params, put(ones(8, IN), P("x"))))
    for number in range(3):
        assert found[f"layers[{number}]", "all-reduce", "backward"] == (1, 4 * IN * IN)


def test_what_the_user_asks_for_in_a_shard_map_is_read_too() -> None:
    def ring(w: Any, x: Any) -> Any:
        x = lax.ppermute(x @ w, "x", [(i, (i + 1) % 4) for i in range(4)])
        return lax.psum(jnp.sum(x**2), "x")

    mapped = jax.shard_map(ring, mesh=MESH, in_specs=(P(), P("x")), out_specs=P())
    # The arrays lie on one device: the mesh is that of the program.
    found = read(lambda params, x: mapped(params["w"], x), {"w": ones(IN, OUT)}, ones(8, IN))
    rows = told(found)
    assert found.mesh == {"x": 4}
    assert rows["w", "collective-permute", "forward"] == (1, 4 * 2 * OUT)
    assert rows["w", "collective-permute", "backward"] == (1, 4 * 2 * OUT)


def test_an_axis_of_a_mesh_is_named() -> None:
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"))
    specs = {"up": {"w": P(None, "model"), "b": P("model")}, "down": {"w": P("model", None)}}
    params = jax.tree.map(lambda a, s: put(a, s, mesh), PARAMS, specs)
    found = read(network, params, put(ones(ROWS, IN), P("data"), mesh))
    axes = {(each.layer, each.half, each.size): (each.axes, each.devices) for each in found.collectives}
    assert axes["down", "forward", 4 * ROWS // 2 * OUT] == (("model",), 2)
    assert axes["down", "backward", 4 * WIDE // 2 * OUT] == (("data",), 2)


def test_shapes_are_enough() -> None:
    shapes = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(MESH, P())), PARAMS
    )
    program, inputs = traced(
        network, jax.tree.map(lambda a: put(a, P()), PARAMS), put(ones(ROWS, IN), P("x"))
    )
    made = read(network, jax.tree.map(lambda a: put(a, P()), PARAMS), put(ones(ROWS, IN), P("x")))
    bare = type(inputs)(jax.tree.leaves(shapes), inputs.others)
    assert communication(program, bare, {"x": 4}, 4, None) == made


def test_a_program_of_one_device_has_no_mesh() -> None:
    assert mesh_of(*traced(network, PARAMS, ones(ROWS, IN))) is None


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("all-reduce", 150), ("all-gather", 75), ("reduce-scatter", 75), ("all-to-all", 75)],
)
def test_what_each_device_has_to_send_at_least(kind: str, sent: float) -> None:
    assert least_sent(kind, 100, 4) == sent
    assert least_sent("collective-permute", 100, 4) == 100
