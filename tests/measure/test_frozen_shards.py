"""Parts of parameters that get no gradient on some devices, and parts that have none for a good reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec as P

from gradscope import Problem
from gradscope.measure.frozen_shards import frozen_shards
from gradscope.records import FrozenShard
from gradscope.trace.program import Tracer

MESH = Mesh(np.array(jax.devices()[:4]), ("model",))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 8)).astype(np.float32)


def drawn(*shape: int) -> Any:
    return jnp.asarray(RNG.normal(size=shape) / 3, jnp.float32)


def found(body: Callable[..., Any], params: Any, specs: Any, batch: Any = X) -> list[FrozenShard]:
    mapped = jax.shard_map(body, mesh=MESH, in_specs=(specs, P()), out_specs=P())
    tracer = Tracer(Problem(jax.jit(lambda params, batch: mapped(params, batch)), params, batch))
    return list(frozen_shards(tracer.trace(batch), [tracer.inputs(batch)]))


COLUMNS = {"w": P(None, "model"), "v": P("model", None)}
PARAMS = {"w": drawn(8, 16), "v": drawn(16, 2)}


def test_columns_behind_a_stop_gradient_are_told_with_their_places() -> None:
    def body(params: Any, x: Any) -> Any:
        w = params["w"]
        w = jnp.where(lax.axis_index("model") < 2, w, lax.stop_gradient(w))
        return jnp.mean(lax.psum(jnp.tanh(x @ w) @ params["v"], "model") ** 2)

    (one,) = found(body, PARAMS, COLUMNS)
    assert (one.parameter, one.axes, one.parts, one.frozen) == ("w", ("model",), 4, (2, 3))
    assert one.moved != one.loss


def pipeline(frozen: int | None) -> Callable[..., Any]:
    def body(params: Any, x: Any) -> Any:
        stage, place = params["stages"][0], lax.axis_index("model")
        if frozen is not None:
            stage = jnp.where(place == frozen, lax.stop_gradient(stage), stage)

        def tick(h: Any, _: Any) -> Any:
            return lax.ppermute(jnp.tanh(h @ stage) + h, "model", [(i, (i + 1) % 4) for i in range(4)]), None

        h, _ = lax.scan(tick, lax.pcast(x, "model", to="varying"), None, length=4)
        return jnp.mean(lax.psum(jnp.where(place == 0, h, 0), "model") ** 2)

    return body


def test_a_stage_of_a_pipeline_is_told_and_a_healthy_one_is_not() -> None:
    stages = {"stages": drawn(4, 8, 8)}
    (one,) = found(pipeline(1), stages, {"stages": P("model")})
    assert one.frozen == (1,)
    assert found(pipeline(None), stages, {"stages": P("model")}) == []


def test_rows_of_a_table_that_no_example_asks_for_are_quiet() -> None:
    def body(params: Any, ids: Any) -> Any:
        own = ids - 4 * lax.axis_index("model")
        rows = jnp.where(((own >= 0) & (own < 4))[:, None], params["table"][jnp.clip(own, 0, 3)], 0)
        return jnp.mean(lax.psum(rows, "model") ** 2)

    ids = np.array([0, 1, 5, 6, 5], np.int32)
    assert found(body, {"table": drawn(16, 3)}, {"table": P("model")}, ids) == []


def test_a_beginning_of_zeros_is_quiet() -> None:
    def body(params: Any, x: Any) -> Any:
        return jnp.mean((lax.psum(jnp.tanh(x @ params["w"]) @ params["v"], "model") - 1) ** 2)

    half = PARAMS["v"].at[:8].set(0.0)
    assert found(body, {**PARAMS, "v": half}, COLUMNS) == []
