"""Programs over a mesh of as many devices as `DEVICES` says; on one they compute the same."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import gradscope

COUNT = int(os.environ.get("DEVICES", "8"))
DEVICES = np.array(jax.devices()[:COUNT])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 16)).astype(np.float32)
Y = np.tanh(X @ RNG.normal(size=(16, 4)).astype(np.float32) / 4)
WIDE = 512
"""Of the hidden layer: a leaf of 2^18 elements is not copied out of a program."""


def drawn(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32) / shape[-2] ** 0.5


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def placed(tree: Any, mesh: Mesh, spec: Any) -> Any:
    whole = isinstance(spec, P)
    return jax.device_put(
        tree,
        jax.tree.map(lambda s: NamedSharding(mesh, s), spec, is_leaf=lambda s: isinstance(s, P))
        if not whole
        else NamedSharding(mesh, spec),
    )


def dense_params() -> Any:
    return {
        "first": {"w": drawn(16, WIDE), "b": zeros(WIDE)},
        "second": {"w": drawn(WIDE, WIDE), "b": zeros(WIDE)},
        "head": {"w": drawn(WIDE, 4), "b": zeros(4)},
    }


def dense_loss(params: Any, batch: Any) -> Any:
    x, y = batch
    h = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    h = jnp.tanh(h @ params["second"]["w"] + params["second"]["b"])
    return jnp.mean((h @ params["head"]["w"] + params["head"]["b"] - y) ** 2)


def problem(loss: Any, params: Any, batch: Any) -> gradscope.Problem:
    return gradscope.Problem(loss, params, batch, optimizer=optax.adam(1e-3))


def data_parallel() -> gradscope.Problem:
    mesh = Mesh(DEVICES, ("data",))
    return problem(dense_loss, placed(dense_params(), mesh, P()), placed((X, Y), mesh, P("data")))


def tensor_parallel() -> gradscope.Problem:
    mesh = Mesh(DEVICES, ("model",))
    spec = {
        "first": {"w": P(None, "model"), "b": P("model")},
        "second": {"w": P("model", None), "b": P()},
        "head": {"w": P("model", None), "b": P()},
    }
    return problem(dense_loss, placed(dense_params(), mesh, spec), placed((X, Y), mesh, P()))


def fsdp() -> gradscope.Problem:
    mesh = Mesh(DEVICES, ("data",))
    params = dense_params()
    spec = jax.tree.map(lambda a: P("data") if a.shape[0] % 8 == 0 else P(), params)
    return problem(dense_loss, placed(params, mesh, spec), placed((X, Y), mesh, P("data")))


def explicit() -> gradscope.Problem:
    """The mesh stays set for the rest of the process."""
    mesh = jax.make_mesh((COUNT,), ("data",), axis_types=(AxisType.Explicit,), devices=list(DEVICES))
    jax.set_mesh(mesh)
    return problem(dense_loss, placed(dense_params(), mesh, P()), placed((X, Y), mesh, P("data")))


def accumulated() -> gradscope.Problem:
    """Micro-batches in a scan; the rows of each over the devices."""
    mesh = Mesh(DEVICES, ("data",))

    def loss(params: Any, batch: Any) -> Any:
        def micro(total: Any, rows: Any) -> Any:
            return total + dense_loss(params, rows), None

        return lax.scan(jax.checkpoint(micro), jnp.zeros(()), batch)[0] / len(batch[0])

    batch = X.reshape(4, 16, 16), Y.reshape(4, 16, 4)
    return problem(loss, placed(dense_params(), mesh, P()), placed(batch, mesh, P(None, "data")))


LAYERS = 8


def pipeline() -> gradscope.Problem:
    """A stage of layers on each device, and micro-batches that go from one to the next."""
    mesh = Mesh(DEVICES, ("stage",))

    def piped(blocks: Any, micro: Any) -> Any:
        stage = lax.axis_index("stage")
        micro = lax.pcast(micro, ("stage",), to="varying")

        def layer(h: Any, p: Any) -> Any:
            return h + 0.5 * jnp.tanh(h @ p["w"] + p["b"]), None

        def tick(carry: Any, t: Any) -> Any:
            state, outs = carry
            y = lax.scan(layer, jnp.where(stage == 0, micro[jnp.minimum(t, len(micro) - 1)], state), blocks)[
                0
            ]
            at = jnp.clip(t - (COUNT - 1), 0, len(micro) - 1)
            outs = outs.at[at].set(jnp.where(t >= COUNT - 1, y, outs[at]))
            after = [(i, (i + 1) % COUNT) for i in range(COUNT)]
            return (lax.ppermute(y, "stage", after), outs), None

        start = jnp.zeros_like(micro[0]), jnp.zeros_like(micro)
        return lax.scan(tick, start, jnp.arange(len(micro) + COUNT - 1))[0][1][None]

    mapped = jax.shard_map(piped, mesh=mesh, in_specs=(P("stage"), P()), out_specs=P("stage"))

    def loss(params: Any, batch: Any) -> Any:
        h = mapped(params["blocks"], batch[0])[-1]
        return jnp.mean((h @ params["head"]["w"] + params["head"]["b"] - batch[1]) ** 2)

    params = {
        "blocks": placed({"w": drawn(LAYERS, 16, 16), "b": zeros(LAYERS, 16)}, mesh, P("stage")),
        "head": placed({"w": drawn(16, 4), "b": zeros(4)}, mesh, P()),
    }
    return problem(loss, params, placed((X.reshape(4, 16, 16), Y.reshape(4, 16, 4)), mesh, P()))


EXPERTS = 8


def experts() -> gradscope.Problem:
    return mixture_of_experts(jax.nn.relu)


def mixture_of_experts(activation: Any) -> gradscope.Problem:
    """Each device has some experts and some tokens; `all_to_all` takes tokens to experts, and back."""
    mesh = Mesh(DEVICES, ("expert",))

    def mixture(router: Any, experts: Any, x: Any) -> Any:
        gates = jax.nn.softmax(x @ router)
        chosen = jax.nn.one_hot(jnp.argmax(gates, axis=-1), EXPERTS)
        # Each token has a place of its own with its expert: nothing is dropped.
        sent = chosen.T[:, :, None] * x[None]
        got = lax.all_to_all(sent, "expert", split_axis=0, concat_axis=1, tiled=True)
        made = jnp.einsum(
            "eth,ehf->etf", activation(jnp.einsum("etf,efh->eth", got, experts["up"])), experts["down"]
        )
        back = lax.all_to_all(made, "expert", split_axis=1, concat_axis=0, tiled=True)
        return x + jnp.einsum("etf,te->tf", back, chosen * gates)

    specs = P(), P("expert"), P("expert")
    mapped = jax.shard_map(mixture, mesh=mesh, in_specs=specs, out_specs=P("expert"))

    def loss(params: Any, batch: Any) -> Any:
        h = mapped(params["router"]["w"], params["experts"], batch[0])
        return jnp.mean((h @ params["head"]["w"] + params["head"]["b"] - batch[1]) ** 2)

    params = {
        "router": placed({"w": drawn(16, EXPERTS)}, mesh, P()),
        "experts": placed({"up": drawn(EXPERTS, 16, 32), "down": drawn(EXPERTS, 32, 16)}, mesh, P("expert")),
        "head": placed({"w": drawn(16, 4), "b": zeros(4)}, mesh, P()),
    }
    return problem(loss, params, placed((X, Y), mesh, P("expert")))


def bad_experts() -> gradscope.Problem:
    return mixture_of_experts(jnp.sqrt)


def bad_fsdp() -> gradscope.Problem:
    """The logarithm of what is below 0, in rows of one device alone."""
    found = fsdp()
    low = jnp.where(jnp.arange(64)[:, None] == 37, -1.0, 1.0)
    return problem(
        lambda p, b: dense_loss(p, (b[0] + jnp.log(low), b[1])), found.params, next(found.batches())
    )


def partitioned() -> gradscope.Problem:
    """Flax NNX with the layout of each parameter beside its initializer."""
    from flax import nnx

    mesh = Mesh(DEVICES.reshape(-1, min(2, COUNT)), ("data", "model"))
    lecun = nnx.initializers.lecun_normal()

    class Net(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.up = nnx.Linear(16, 32, kernel_init=nnx.with_partitioning(lecun, (None, "model")), rngs=rngs)
            self.down = nnx.Linear(
                32, 4, kernel_init=nnx.with_partitioning(lecun, ("model", None)), rngs=rngs
            )

        def __call__(self, x: Any) -> Any:
            return self.down(nnx.relu(self.up(x)))

    @nnx.jit
    def made() -> Any:
        model = Net(nnx.Rngs(0))
        state = nnx.state(model)
        nnx.update(model, lax.with_sharding_constraint(state, nnx.get_partition_spec(state)))
        return model

    with jax.set_mesh(mesh):
        model = made()
    return problem(
        lambda model, b: jnp.mean((model(b[0]) - b[1]) ** 2), model, placed((X, Y), mesh, P("data"))
    )
