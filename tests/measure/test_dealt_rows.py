"""What devices make of rows of their own: the loss with rows dealt otherwise, and noise that all share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec as P

import gradscope
from gradscope.records import Report

MESH = Mesh(np.array(jax.devices()[:4]), ("data",))
GRID = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"))
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(16, 6)) + np.arange(16)[:, None] / 4).astype(np.float32)
Y = RNG.normal(size=(16, 2)).astype(np.float32)
MASK = (np.arange(16) % 4 < np.repeat([1, 2, 3, 4], 4)).astype(np.float32)
PARAMS = {
    "w": jnp.asarray(RNG.normal(size=(6, 8)) / 2, jnp.float32),
    "v": jnp.asarray(RNG.normal(size=(8, 2)) / 2, jnp.float32),
}
Loss = Callable[..., Any]


def report_of(shard: Loss, *batch: Any, mesh: Mesh = MESH, key: bool = False, **more: Any) -> Report:
    specs = (P(), *[P("data")] * len(batch), *[P()] * key)
    mapped = jax.shard_map(shard, mesh=mesh, in_specs=specs, out_specs=P(), **more)
    if key:
        return gradscope.check(lambda params, batch, key: mapped(params, *batch, key), PARAMS, batch, steps=0)
    return gradscope.check(lambda params, batch: mapped(params, *batch), PARAMS, batch, steps=0)


def rules(report: Report) -> set[str]:
    return {each.rule for each in report.findings} & {"shard-dependent-loss", "shared-noise"}


def error(params: Any, h: Any, y: Any) -> Any:
    return jnp.mean((jnp.tanh(h) @ params["v"] - y) ** 2)


def plain(params: Any, x: Any, y: Any) -> Any:
    return lax.pmean(error(params, x @ params["w"], y), "data")


def normalized(params: Any, x: Any, y: Any, together: bool) -> Any:
    h = x @ params["w"]
    mean, square = jnp.mean(h, 0), jnp.mean(h * h, 0)
    if together:
        mean, square = lax.pmean((mean, square), "data")
    return lax.pmean(error(params, (h - mean) / jnp.sqrt(square - mean**2 + 1e-3), y), "data")


def local_statistics(params: Any, x: Any, y: Any) -> Any:
    return normalized(params, x, y, together=False)


def common_statistics(params: Any, x: Any, y: Any) -> Any:
    return normalized(params, x, y, together=True)


def masked(params: Any, x: Any, y: Any, mask: Any, together: bool) -> Any:
    errors = jnp.mean((jnp.tanh(x @ params["w"]) @ params["v"] - y) ** 2, -1) * mask
    if together:
        total, count = lax.psum((jnp.sum(errors), jnp.sum(mask)), "data")
        return total / count
    return lax.pmean(jnp.sum(errors) / jnp.sum(mask), "data")


def test_statistics_of_one_device_are_told_with_both_losses() -> None:
    report = report_of(local_statistics, X, Y)
    assert rules(report) == {"shard-dependent-loss"}
    assert report.flow is not None
    (found,) = report.flow.dealt
    assert (found.axes, found.devices, found.examples) == (("data",), 4, 16)
    mapped = jax.shard_map(local_statistics, mesh=MESH, in_specs=(P(), P("data"), P("data")), out_specs=P())
    order = np.arange(16).reshape(4, 4).T.ravel()
    assert found.loss == pytest.approx(float(mapped(PARAMS, X, Y)), rel=1e-6)
    assert found.dealt == pytest.approx(float(mapped(PARAMS, X[order], Y[order])), rel=1e-5)
    assert found.turned == pytest.approx(found.loss, rel=1e-5)
    assert found.source is not None
    assert found.source.file.endswith("test_dealt_rows.py")


def test_a_mean_over_what_counts_on_one_device_is_told() -> None:
    def own(params: Any, x: Any, y: Any, mask: Any) -> Any:
        return masked(params, x, y, mask, together=False)

    assert rules(report_of(own, X, Y, MASK)) == {"shard-dependent-loss"}


def over_all(params: Any, x: Any, y: Any, mask: Any) -> Any:
    return masked(params, x, y, mask, together=True)


@pytest.mark.parametrize(
    ("shard", "batch"),
    [(plain, (X, Y)), (common_statistics, (X, Y)), (over_all, (X, Y, MASK))],
    ids=["mean", "common statistics", "counted together"],
)
def test_a_loss_of_the_whole_batch_is_quiet(shard: Loss, batch: tuple[Any, ...]) -> None:
    report = report_of(shard, *batch)
    assert rules(report) == set()
    assert report.flow is not None
    assert len(report.flow.dealt) == 1


def test_one_row_on_each_device_and_batches_that_are_not_split_are_not_tried() -> None:
    report = report_of(plain, X[:4], Y[:4])
    assert report.flow is not None
    assert report.flow.dealt == ()
    whole = gradscope.check(lambda p, b: error(p, b[0] @ p["w"], b[1]), PARAMS, (X, Y), steps=0)
    assert whole.flow is not None
    assert whole.flow.dealt == ()


def dropped(params: Any, x: Any, y: Any, key: Any) -> Any:
    h = x @ params["w"]
    keep = jax.random.bernoulli(key, 0.8, h.shape)
    return lax.pmean(error(params, jnp.where(keep, h / 0.8, 0), y), "data")


def folded(params: Any, x: Any, y: Any, key: Any) -> Any:
    return dropped(params, x, y, jax.random.fold_in(key, lax.axis_index("data")))


def of_weights(params: Any, x: Any, y: Any, key: Any) -> Any:
    noise = jax.random.normal(key, params["w"].shape) / 10
    return lax.pmean(error(params, x @ (params["w"] + noise), y), "data")


def one_for_all(params: Any, x: Any, y: Any, key: Any) -> Any:
    return lax.pmean(error(params, x @ params["w"] * jax.random.uniform(key, (1, 8)), y), "data")


@pytest.mark.parametrize("check_vma", [True, False])
def test_a_mask_that_all_devices_share_is_told(check_vma: bool) -> None:
    report = report_of(dropped, X, Y, key=True, check_vma=check_vma)
    assert rules(report) == {"shared-noise"}
    assert report.flow is not None
    (found,) = report.flow.shared_noise
    assert (found.axes, found.devices, found.shape) == (("data",), 4, (4, 8))
    assert found.source is not None
    assert found.source.text.startswith("keep = jax.random.bernoulli")


@pytest.mark.parametrize(
    "shard", [folded, of_weights, one_for_all], ids=["a key each", "of weights", "one for all"]
)
def test_noise_that_differs_or_is_not_by_example_is_quiet(shard: Loss) -> None:
    assert rules(report_of(shard, X, Y, key=True)) == set()


def test_keys_that_are_split_over_devices_are_quiet() -> None:
    def shard(params: Any, x: Any, y: Any, keys: Any) -> Any:
        return dropped(params, x, y, keys[0])

    mapped = jax.shard_map(shard, mesh=MESH, in_specs=(P(), P("data"), P("data"), P("data")), out_specs=P())
    report = gradscope.check(
        lambda params, batch, key: mapped(params, *batch, jax.random.split(key, 4)), PARAMS, (X, Y), steps=0
    )
    assert rules(report) == set()


def test_the_same_mask_for_devices_that_share_their_rows_is_quiet() -> None:
    """Over `model` the rows are the same: only along `data` each device needs noise of its own."""
    report = report_of(folded, X, Y, mesh=GRID, key=True)
    assert rules(report) == set()
    assert rules(report_of(dropped, X, Y, mesh=GRID, key=True)) == {"shared-noise"}


@pytest.mark.parametrize("split", [True, False], ids=["examples", "units"])
def test_a_layer_of_its_own_that_drops_what_was_computed_is_told(split: bool) -> None:
    """Devices that have other units of the same examples are another matter: nothing is said of them."""

    def drop(h: Any, key: Any) -> Any:
        return jnp.where(jax.random.bernoulli(key, 0.8, h.shape), h / 0.8, 0)

    spec = P("data") if split else P(None, "data")
    layer = jax.shard_map(drop, mesh=MESH, in_specs=(spec, P()), out_specs=spec)

    def loss(params: Any, batch: Any, key: Any) -> Any:
        return error(params, layer(batch[0] @ params["w"], key), batch[1])

    report = gradscope.check(loss, PARAMS, (X, Y), steps=0)
    assert rules(report) == ({"shared-noise"} if split else set())
    assert report.flow is not None
    assert report.flow.dealt == ()


def test_noise_on_shards_of_the_weights_is_no_noise_of_examples() -> None:
    """Rows of a weight may be split as rows of the batch are, and there may be as many."""
    weights = {"w": jnp.asarray(RNG.normal(size=(16, 2)) / 2, jnp.float32)}

    def shard(w: Any, x: Any, y: Any, key: Any) -> Any:
        noisy = lax.all_gather(w + jax.random.normal(key, w.shape) / 10, "data", tiled=True)
        return lax.pmean(jnp.mean((x @ noisy - y) ** 2), "data")

    mapped = jax.shard_map(
        shard, mesh=MESH, in_specs=(P("data"), P("data"), P("data"), P()), out_specs=P(), check_vma=False
    )
    wide = RNG.normal(size=(16, 16)).astype(np.float32)
    report = gradscope.check(
        lambda params, batch, key: mapped(params["w"], *batch, key), weights, (wide, Y), steps=0
    )
    assert "shared-noise" not in rules(report)
