"""Overlaps of outputs and targets, with masks of 0 and 1 and with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.measure.overlaps import overlap_targets
from gradscope.records import OutputFault, OutputMismatch
from gradscope.trace.program import Tracer
from tests.trace.oracle import normal

N, D, C = 12, 5, 3
X = normal(0, N, D)
MASK = (X[:, :C] > 0.3).astype(np.float32)
PARAMS = {"w": normal(1, D, C)}
Overlap = Callable[[Any, Any], Any]


def dice(p: Any, t: Any) -> Any:
    return 1 - (2 * jnp.sum(p * t) + 1) / (jnp.sum(p) + jnp.sum(t) + 1)


def jaccard(p: Any, t: Any) -> Any:
    both = jnp.sum(p * t)
    return 1 - both / (jnp.sum(p) + jnp.sum(t) - both)


def by_class(p: Any, t: Any) -> Any:
    return 1 - jnp.mean((2 * jnp.sum(p * t, 0) + 1e-6) / (jnp.sum(p, 0) + jnp.sum(t, 0) + 1e-6))


def squared(p: Any, t: Any) -> Any:
    return 1 - 2 * jnp.sum(p * t) / (jnp.sum(p * p) + jnp.sum(t**2))


def together(p: Any, t: Any) -> Any:
    return 1 - 2 * jnp.vdot(p.reshape(-1), t.reshape(-1)) / jnp.sum(p + t)


OVERLAPS: dict[str, Overlap] = {
    "dice": dice,
    "jaccard": jaccard,
    "by class": by_class,
    "squared": squared,
    "together": together,
    "compiled": jax.jit(dice),
    "by example": lambda p, t: jnp.mean(jax.vmap(dice)(p, t)),
}


def found(overlap: Overlap, targets: Any, ends: Any = jax.nn.sigmoid) -> list[OutputMismatch]:
    def loss(params: Any, batch: Any) -> Any:
        x, t = batch
        return overlap(ends(x @ params["w"]), t)

    tracer = Tracer(Problem(loss, PARAMS, (X, targets)))
    return list(overlap_targets(tracer.trace((X, targets)), [tracer.inputs((X, targets))]))


@pytest.mark.parametrize("name", [name for name in OVERLAPS if name != "together"])
def test_a_mask_of_0_and_255_is_found(name: str) -> None:
    (one,) = found(OVERLAPS[name], 255 * MASK)
    assert (one.fault, one.smallest, one.largest) == (OutputFault.OVERLAP, 0, 255)
    assert one.outside == pytest.approx(MASK.mean())


@pytest.mark.parametrize("name", OVERLAPS)
def test_masks_and_soft_masks_are_right(name: str) -> None:
    assert found(OVERLAPS[name], MASK) == []
    assert found(OVERLAPS[name], 0.1 + 0.8 * MASK) == []


def test_a_softmax_is_a_share_too() -> None:
    assert found(dice, 2 * MASK, jax.nn.softmax) != []


def weighted_mean(p: Any, t: Any) -> Any:
    return jnp.sum(p * t) / jnp.sum(t)


def attended(p: Any, t: Any) -> Any:
    return jnp.sum(p * t) / jnp.sum(p)


@pytest.mark.parametrize("other", [weighted_mean, attended])
def test_means_with_weights_are_no_overlaps(other: Overlap) -> None:
    assert found(other, 255 * MASK) == []


def test_an_overlap_of_amounts_has_outputs_of_any_size() -> None:
    assert found(squared, 255 * MASK, jax.nn.softplus) == []


def boundary(p: Any, t: Any) -> Any:
    """Distances to the border of the mask, over the size of both masks."""
    return jnp.sum(p * t) / (jnp.sum(p) + jnp.sum(t > 0))


def test_what_is_multiplied_is_not_what_is_summed() -> None:
    assert found(boundary, X[:, :C]) == []


def test_sums_in_the_network_are_none_of_the_overlap() -> None:
    """Readings weighted by how far they are trusted, of readings less their mean."""

    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        trust = jax.nn.sigmoid((x - x.mean(1, keepdims=True)) @ params["w"])
        return jnp.mean(((trust * x[:, :C]).sum(1) / (trust.sum(1) + 1e-6) - y) ** 2)

    batch = X, X[:, 0]
    tracer = Tracer(Problem(loss, PARAMS, batch))
    assert list(overlap_targets(tracer.trace(batch), [tracer.inputs(batch)])) == []


def weighted(p: Any, t: Any) -> Any:
    return 1 - 2 * jnp.mean(p * t) / jnp.maximum(0.5 * jnp.mean(p) + 0.5 * jnp.mean(t), 1e-6)


def test_an_overlap_of_means_is_found() -> None:
    assert found(weighted, MASK) == []
    assert len(found(weighted, 255 * MASK)) == 1
