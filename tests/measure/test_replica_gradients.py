"""Gradients of replicas and their noise, against a plain loop of `jax.grad` over the rows of each."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

import gradscope
from gradscope.records import ReplicaGradients

REPLICAS, OWN, IN, WIDE = 4, 4, 6, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(REPLICAS * OWN, IN)).astype(np.float32)
Y = (X @ RNG.normal(size=IN) / 3 + RNG.normal(size=REPLICAS * OWN)).astype(np.float32)
PARAMS = {
    "up": {"w": RNG.normal(size=(IN, WIDE)).astype(np.float32) / 2, "b": np.zeros(WIDE, np.float32)},
    "down": {"w": RNG.normal(size=WIDE).astype(np.float32)},
}
MESH = Mesh(np.array(jax.devices()[:REPLICAS]), ("data",))


def outputs(params: Any, x: Any) -> Any:
    return jnp.tanh(x @ params["up"]["w"] + params["up"]["b"]) @ params["down"]["w"]


def loss(params: Any, batch: Any) -> Any:
    return jnp.mean((outputs(params, batch[0]) - batch[1]) ** 2)


def put(tree: Any, spec: Any) -> Any:
    return jax.device_put(tree, NamedSharding(MESH, spec))


def measured(loss_fn: Any, batch: Any, params: Any = PARAMS, **more: Any) -> ReplicaGradients:
    report = gradscope.check(loss_fn, put(params, P()), batch, steps=0, replicas=True, **more)
    assert report.flow is not None
    assert report.flow.replicas is not None, report.skipped
    return report.flow.replicas


def wide(gradient: Any) -> Any:
    return np.asarray(gradient, np.float64)


def by_hand(batch: Any = (X, Y), loss_fn: Any = loss) -> list[Any]:
    """The gradient of each replica's rows by themselves."""
    parts = [jax.tree.map(lambda a, r=r: a[r * OWN : (r + 1) * OWN], batch) for r in range(REPLICAS)]
    return [jax.tree.map(wide, jax.grad(loss_fn)(PARAMS, part)) for part in parts]


def cosines(gradients: list[Any]) -> float:
    rows = np.stack([np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(each)]) for each in gradients])
    rest = rows.sum(axis=0) - rows
    return float(np.mean((rows * rest).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(rest, axis=1)))


def noise_scale(gradients: list[Any]) -> float:
    """Of McCandlish et al. 2018, equations A.2 and A.3, from two sizes of batch."""
    rows = np.stack([np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(each)]) for each in gradients])
    small, large = OWN, OWN * REPLICAS
    of_small, of_large = np.mean(np.sum(rows**2, axis=1)), np.sum(rows.mean(axis=0) ** 2)
    signal = (large * of_large - small * of_small) / (large - small)
    return float((of_small - of_large) / (1 / small - 1 / large) / signal)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_they_are_those_of_a_loop_over_the_rows_of_each(scale: float) -> None:
    found = measured(lambda p, b: scale * loss(p, b), put((X, Y), P("data")))
    gradients = by_hand()
    assert (found.axes, found.replicas, found.rows) == (("data",), REPLICAS, OWN)
    assert found.cosine == pytest.approx(cosines(gradients), rel=1e-4)
    layers = {each.layer: each.cosine for each in found.layers}
    for name in ("up", "down"):
        assert layers[name] == pytest.approx(cosines([each[name] for each in gradients]), rel=1e-4)
    assert found.averaged
    assert not found.drawn
    assert found.apart < 1e-5
    assert found.noise is not None
    assert found.noise.scale == pytest.approx(noise_scale(gradients), rel=1e-3)


def test_a_sum_over_rows_has_the_noise_of_the_mean() -> None:
    mean = measured(loss, put((X, Y), P("data")))
    total = measured(lambda p, b: len(X) * loss(p, b), put((X, Y), P("data")))
    assert mean.noise is not None
    assert total.noise is not None
    assert total.noise.scale == pytest.approx(mean.noise.scale, rel=1e-4)
    assert total.cosine == pytest.approx(mean.cosine, rel=1e-4)


def test_statistics_of_a_batch_are_told_and_give_no_noise() -> None:
    def normalized(params: Any, batch: Any) -> Any:
        z = batch[0] @ params["up"]["w"]
        z = (z - z.mean(axis=0)) / (z.std(axis=0) + 1e-3) + params["up"]["b"]
        return jnp.mean((jnp.tanh(z) @ params["down"]["w"] - batch[1]) ** 2)

    found = measured(normalized, put((X, Y), P("data")))
    assert not found.averaged
    assert found.noise is None
    assert found.apart > 0.05
    assert found.cosine == pytest.approx(cosines(by_hand(loss_fn=normalized)), rel=1e-4)
    assert all(each.signal is None for each in found.layers)


def test_noise_that_the_loss_draws_is_averaged_over_places() -> None:
    def dropped(params: Any, batch: Any, key: Any) -> Any:
        kept = jax.random.bernoulli(key, 0.5, batch[0].shape)
        return loss(params, (2 * batch[0] * kept, batch[1]))

    found = measured(dropped, put((X, Y), P("data")))
    assert found.averaged
    assert found.drawn
    assert found.noise is not None


def test_micro_batches_whose_rows_are_split_along_their_second_axis() -> None:
    def accumulated(params: Any, batch: Any) -> Any:
        return lax.scan(lambda total, rows: (total + loss(params, rows), None), jnp.zeros(()), batch)[0] / 2

    # Rows of a replica stand in both micro-batches.
    micro = jax.tree.map(
        lambda a: a.reshape(REPLICAS, 2, OWN // 2, *a.shape[1:]).swapaxes(0, 1).reshape(2, -1, *a.shape[1:]),
        (X, Y),
    )
    found = measured(accumulated, put(micro, P(None, "data")))
    assert (found.replicas, found.rows) == (REPLICAS, OWN)
    assert found.cosine == pytest.approx(cosines(by_hand()), rel=1e-4)


def test_rows_that_a_shard_map_splits() -> None:
    mapped = jax.shard_map(
        lambda p, b: lax.pmean(loss(p, b), "data"), mesh=MESH, in_specs=(P(), P("data")), out_specs=P()
    )
    found = measured(mapped, put((X, Y), P("data")))
    assert found.cosine == pytest.approx(cosines(by_hand()), rel=1e-4)
    alone = gradscope.check(mapped, PARAMS, (X, Y), steps=0, replicas=True).flow
    assert alone is not None
    assert alone.replicas is not None
    assert alone.replicas.cosine == pytest.approx(found.cosine, rel=1e-4)


def test_layers_of_a_stack_are_told_one_by_one() -> None:
    stack = {
        "w": np.stack([np.eye(IN, dtype=np.float32) / (1 + n) for n in range(3)]),
        "v": PARAMS["down"]["w"],
    }
    stack["v"] = np.ones(IN, np.float32)

    def deep(params: Any, batch: Any) -> Any:
        x = lax.scan(lambda x, w: (jnp.tanh(x @ w), None), batch[0], params["w"])[0]
        return jnp.mean((x @ params["v"] - batch[1]) ** 2)

    found = measured(deep, put((X, Y), P("data")), params=stack)
    parts = [(X[r * OWN : (r + 1) * OWN], Y[r * OWN : (r + 1) * OWN]) for r in range(REPLICAS)]
    by_place = [wide(jax.grad(deep)(stack, part)["w"]) for part in parts]
    stacked = [each.cosine for each in found.layers if each.layer.startswith("w[")]
    assert stacked == [pytest.approx(cosines([[g[n]] for g in by_place]), rel=1e-3) for n in range(3)]


def test_several_batches_are_one_estimate() -> None:
    halves = [put((X, Y), P("data")), put((X[::-1].copy(), Y[::-1].copy()), P("data"))]
    report = gradscope.check(
        loss, put(PARAMS, P()), batches=lambda: iter(halves), count=2, steps=0, replicas=True
    )
    assert report.flow is not None
    found = report.flow.replicas
    assert found is not None
    assert found.batches == 2
    # Rows in another order, replica by replica: the same numbers.
    assert found.noise is not None
    assert found.noise.scale == pytest.approx(noise_scale(by_hand()), rel=1e-3)


@pytest.mark.parametrize(
    ("batch", "loss_fn", "reason"),
    [
        ((X, Y), loss, "no array of the batch is split over devices"),
        (put((X, Y), P("data")), lambda p, b: 0.0 * loss(p, b), "the gradient is 0"),
        (
            put((X, np.repeat(np.arange(REPLICAS, dtype=np.float32), OWN)), P("data")),
            lambda p, b: jnp.sum(p["down"]["w"]) / jnp.std(b[1]),
            "one replica alone is not finite",
        ),
    ],
)
def test_what_cannot_be_measured_is_told(batch: Any, loss_fn: Any, reason: str) -> None:
    report = gradscope.check(loss_fn, PARAMS, batch, steps=0, replicas=True)
    assert report.flow is not None
    assert report.flow.replicas is None
    (told,) = [each.reason for each in report.skipped if each.what == "gradients of replicas"]
    assert reason in told


def test_nothing_is_measured_unless_it_is_asked_for() -> None:
    report = gradscope.check(loss, PARAMS, put((X, Y), P("data")), steps=0)
    assert report.flow is not None
    assert report.flow.replicas is None
