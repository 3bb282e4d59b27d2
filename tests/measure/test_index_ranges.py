"""Indices out of range: exact, wherever they are made, and quiet where they are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gradscope.records import Finding, Severity
from gradscope.runs.check import check_loss

ROWS, VOCABULARY, CLASSES = 32, 8, 4
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, VOCABULARY, (ROWS, 6)).astype(np.int32)
LABELS = np.arange(ROWS, dtype=np.int32) % CLASSES
PARAMS = {"table": RNG.normal(size=(VOCABULARY, 5)).astype(np.float32), "out": RNG.normal(size=(5, CLASSES))}
PARAMS = jax.tree.map(lambda leaf: leaf.astype(np.float32), PARAMS)
RULE = "index-out-of-range"


def found(loss: Callable[..., Any], batch: Any, params: Any = PARAMS) -> list[Finding]:
    report = check_loss(loss, params, batch, steps=0)
    return [finding for finding in report.findings if finding.rule == RULE]


def scores(p: Any, tokens: Any) -> Any:
    return jax.nn.relu(p["table"][tokens].mean(1)) @ p["out"]


def one_hot(p: Any, batch: Any) -> Any:
    tokens, labels = batch
    return optax.softmax_cross_entropy(scores(p, tokens), jax.nn.one_hot(labels, CLASSES)).mean()


def chosen(p: Any, batch: Any) -> Any:
    tokens, labels = batch
    return -jax.nn.log_softmax(scores(p, tokens))[jnp.arange(ROWS), labels].mean()


@pytest.mark.parametrize("loss", [one_hot, chosen, jax.jit(chosen)])
def test_labels_that_count_from_one_are_an_error(loss: Callable[..., Any]) -> None:
    assert found(loss, (TOKENS, LABELS)) == []
    (finding,) = found(loss, (TOKENS, LABELS + 1))
    assert finding.severity is Severity.ERROR
    assert "The labels run from 1 to 4, and there are 4 classes, 0 to 3: 8 of 32" in finding.message
    assert finding.source is not None


@pytest.mark.parametrize("factor", [1, 3])
def test_tokens_beyond_the_table_are_an_error_at_its_layer(factor: int) -> None:
    tokens = TOKENS.copy()
    tokens[0, :3] = VOCABULARY, VOCABULARY + 1, 5 * factor * VOCABULARY
    (finding,) = found(chosen, (tokens, LABELS))
    assert (finding.severity, finding.layer) == (Severity.ERROR, "table")
    assert "3 of the 192 indices into a table of 8 rows are out of range" in finding.message
    assert "which are 3 different values" in finding.message


def test_an_index_below_zero_counts_from_the_end() -> None:
    tokens = TOKENS.copy()
    tokens[0, :2] = -1, -VOCABULARY
    assert found(chosen, (tokens, LABELS)) == []
    tokens[0, :2] = -VOCABULARY - 1, -VOCABULARY - 2
    (finding,) = found(chosen, (tokens, LABELS))
    assert "the first or the last row" in finding.message


def test_one_value_out_of_range_may_stand_for_what_is_masked() -> None:
    tokens = np.where(TOKENS == 0, VOCABULARY, TOKENS)

    def masked(p: Any, batch: Any) -> Any:
        tokens, labels = batch
        h = jnp.where((tokens < VOCABULARY)[..., None], p["table"][tokens], 0.0).mean(1)
        return optax.softmax_cross_entropy_with_integer_labels(h @ p["out"], labels).mean()

    (finding,) = found(masked, (tokens, LABELS))
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize("ignored", [255, -1, -100])
@pytest.mark.parametrize("loss", [one_hot, chosen])
def test_labels_that_do_not_count_are_quiet(loss: Callable[..., Any], ignored: int) -> None:
    labels = LABELS.copy()
    labels[:5] = ignored
    assert found(loss, (TOKENS, labels)) == []


def test_indices_that_are_clipped_on_purpose_are_quiet() -> None:
    def clipped(p: Any, batch: Any) -> Any:
        tokens, labels = batch
        h = jnp.take(p["table"], tokens, axis=0, mode="clip").mean(1)
        return optax.softmax_cross_entropy_with_integer_labels(h @ p["out"], labels).mean()

    assert found(clipped, (TOKENS + 3, LABELS)) == []


def test_labels_of_all_classes_but_the_first_are_quiet() -> None:
    """A background class that this batch does not show."""
    assert found(one_hot, (TOKENS, np.where(LABELS == 0, 1, LABELS))) == []


def test_an_embedding_of_a_framework() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.embed = nnx.Embed(VOCABULARY, 5, rngs=rngs)
            self.out = nnx.Linear(5, CLASSES, rngs=rngs)

        def __call__(self, tokens: Any) -> Any:
            return self.out(self.embed.embedding[tokens].mean(1))

    def loss(model: Any, batch: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]).mean()

    assert found(loss, (TOKENS, LABELS), Net()) == []
    (finding,) = found(loss, (TOKENS + 2, LABELS), Net())
    assert finding.layer == "embed"
