"""Ids among the inputs that go in as numbers, told from the data; counts and times are quiet."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Finding, NumberedCategories
from gradscope.runs.check import check_loss
from gradscope.training.categories import told_by

RNG = np.random.default_rng(0)
N, K = 2048, 50
IDS = RNG.integers(0, K, N)
OTHER = RNG.normal(size=(N, 2)).astype(np.float32)
EFFECTS = RNG.normal(size=K)
NOISE = RNG.normal(size=N)
PARAMS = {
    "w": (RNG.normal(size=(3, 16)) / 2).astype(np.float32),
    "v": (RNG.normal(size=(16, 1)) / 4).astype(np.float32),
    "table": (RNG.normal(size=(K, 1)) / 4).astype(np.float32),
}


def network(p: Any, x: Any) -> Any:
    return (jnp.tanh(x @ p["w"]) @ p["v"])[:, 0]


def as_numbers(p: Any, batch: Any) -> Any:
    ids, other, y = batch
    return jnp.mean((network(p, jnp.concatenate([ids[:, None] / K, other], axis=1)) - y) ** 2)


def in_a_table(p: Any, batch: Any) -> Any:
    x, y = batch
    return jnp.mean((network(p, x) - y) ** 2)


def as_a_class(p: Any, batch: Any) -> Any:
    ids, other, y = batch
    x = jnp.concatenate([ids[:, None] / K, other], axis=1)
    return optax.sigmoid_binary_cross_entropy(network(p, x), y).mean()


def embedded(p: Any, batch: Any) -> Any:
    ids, other, y = batch
    return jnp.mean((network(p, jnp.concatenate([p["table"][ids], other], axis=1)) - y) ** 2)


def of_coordinates(p: Any, batch: Any) -> Any:
    ids, other, y = batch
    x = jnp.concatenate([ids[:, None], other], axis=1)
    return jnp.mean(((jnp.sin(x @ p["w"]) @ p["v"])[:, 0] - y) ** 2)


def told(loss: Any, *data: Any) -> list[Finding]:
    arrays = tuple(np.asarray(each, np.float32) if each.dtype == np.float64 else each for each in data)
    batches = [tuple(each[i : i + 256] for each in arrays) for i in range(0, N, 256)]
    report = check_loss(loss, PARAMS, batches=batches, optimizer=optax.adam(1e-2))
    assert not [each for each in report.skipped if "itself" in each.reason]
    return [each for each in report.findings if each.rule == "categories-as-numbers"]


TARGET = EFFECTS[IDS] + NOISE


def test_ids_as_numbers_are_told_with_what_was_measured() -> None:
    (finding,) = told(as_numbers, IDS, OTHER, TARGET)
    assert finding.message.startswith("The 50 whole numbers in `batch[0]` go into the network as numbers")
    means = np.array([TARGET[each == IDS].mean() for each in range(K)])
    by_hand = np.mean(np.diff(means) ** 2) / (2 * means.var())
    assert finding.evidence["apart"] == pytest.approx(by_hand * (K - 1) / K * K / (K - 1), rel=0.05)


def test_a_column_of_a_table_and_labels_are_told_too() -> None:
    table = np.concatenate([IDS[:, None], OTHER], axis=1).astype(np.float32)
    (finding,) = told(in_a_table, table, TARGET)
    assert "column 0 of `batch[0]`" in finding.message
    (finding,) = told(as_a_class, IDS, OTHER, (TARGET > 0).astype(np.float32))
    assert "`batch[0]`" in finding.message


HEALTHY = {
    "embedded": (embedded, IDS, TARGET),
    "coordinates": (of_coordinates, IDS, TARGET),
    "a count": (as_numbers, IDS, np.log1p(IDS) + NOISE),
    "an hour": (as_numbers, IDS, 2 * np.sin(IDS / K * 2 * np.pi) + 0.2 * NOISE),
    "waves": (as_numbers, IDS, np.sin(IDS / K * 6 * np.pi) + NOISE),
    "weak and smooth": (as_numbers, IDS, 0.2 * IDS / K + NOISE),
    "nothing": (as_numbers, IDS, NOISE),
    "measured": (as_numbers, IDS + RNG.normal(size=N), TARGET),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_embedded_counted_or_measured_is_quiet(name: str) -> None:
    loss, numbers, target = HEALTHY[name]
    assert told(loss, numbers, OTHER, target) == []


def test_by_chance_one_in_many_is_told_at_most() -> None:
    """Of targets that have nothing to do with the number, and of smooth ones, over many draws."""
    rng, hits = np.random.default_rng(1), 0
    for draw in range(400):
        k = int(rng.integers(20, 80))
        ids = rng.integers(0, k, 12 * k)
        smooth = 0.0 if draw % 2 else np.sin(ids / k * rng.uniform(1, 12) + rng.uniform(0, 6))
        found: NumberedCategories = told_by("ids", None, ids, "y", smooth + rng.standard_t(3, size=12 * k))
        hits += min(found.sure, found.rough) >= 4 and found.apart >= 0.75
    assert hits == 0
