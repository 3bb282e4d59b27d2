"""Labels of one class and rows that are all the same; and data that only look so."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Finding
from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 32, 6)).astype(np.float32)
LABELS = RNG.integers(0, 3, (4, 32)).astype(np.int32)
W = np.zeros((6, 3), np.float32)


def entropy(w: Any, batch: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(batch[0] @ w, batch[1]).mean()


def found(x: Any, labels: Any, loss: Any = entropy, w: Any = W) -> list[Finding]:
    report = check_loss(
        loss, w, batches=lambda: zip(x, labels, strict=True), optimizer=optax.sgd(0.1), steps=3
    )
    return [finding for finding in report.findings if finding.rule == "constant-data"]


def test_labels_of_one_class_are_told() -> None:
    (finding,) = found(X, np.full_like(LABELS, 2))
    assert finding.message == "All 128 labels `batch[1]` of 4 batches are the same: 2."


def test_rows_that_are_all_the_same_are_told_also_where_batches_differ() -> None:
    (finding,) = found(np.broadcast_to(X[:, :1], X.shape), LABELS)
    assert (
        "All rows of the input `batch[0]` are the same within each of 4 batches, 128 in all"
        in finding.message
    )


def test_a_single_batch_is_told_without_its_number() -> None:
    (finding,) = found(np.broadcast_to(X[:1, :1], X[:1].shape), LABELS[:1])
    assert finding.message.startswith("All rows of the input `batch[0]` are the same, 32 in all")


def test_usual_data_and_a_few_rows_are_quiet() -> None:
    assert found(X, LABELS) == []
    assert found(X[:2, :2], np.zeros((2, 2), np.int32)) == []
    assert found(X, np.broadcast_to(LABELS[:, :1], LABELS.shape)) == []  # sorted, and not constant


@pytest.mark.parametrize(
    "constant", [np.ones((4, 32, 6)), np.zeros((4, 32, 6)), np.broadcast_to(X[:, :1], X.shape)]
)
def test_an_input_beside_one_that_varies_is_quiet(constant: Any) -> None:
    def both(w: Any, batch: Any) -> Any:
        (x, beside), labels = batch
        return optax.softmax_cross_entropy_with_integer_labels((x + beside) @ w, labels).mean()

    pairs = list(zip(X, constant.astype(np.float32), strict=True))
    assert found(pairs, LABELS, both) == []


def test_a_residual_that_has_to_vanish_is_quiet() -> None:
    def residual(w: Any, batch: Any) -> Any:
        x, zero = batch
        return jnp.mean((x @ w - zero) ** 2)

    assert found(X, np.zeros((4, 32, 1), np.float32), residual, np.ones((6, 1), np.float32)) == []


def test_one_image_at_every_step_of_time_is_no_constant() -> None:
    """Spiking networks are given it so."""

    def loss(w: Any, batch: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels((batch[0] @ w).sum(0), batch[1]).mean()

    x = np.broadcast_to(X[:, None], (4, 12, 32, 6))
    assert not found(x, LABELS, loss)
    assert found(np.broadcast_to(x[:, :, :1], x.shape), LABELS, loss)
