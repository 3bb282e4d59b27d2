"""Rows that become alike: where the gradients ask for the pass, and what it measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gradscope.records import Finding, Report
from gradscope.runs.check import check_loss

NODES, WIDTH, CLASSES = 60, 16, 3
RULE = "collapsed-representations"
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, CLASSES, NODES)
X = RNG.normal(size=(NODES, 8)).astype(np.float32) + np.eye(CLASSES, 8, dtype=np.float32)[LABELS]
EDGES = RNG.random((NODES, NODES)) < 0.15
EDGES = (EDGES | EDGES.T | np.eye(NODES, dtype=bool)).astype(np.float32)
MEAN = EDGES / EDGES.sum(axis=1, keepdims=True)
Act = Callable[[Any], Any]


def params(depth: int, gain: float = 2.0) -> Any:
    keys = jax.random.split(jax.random.key(1), depth + 2)
    layers = [jax.random.normal(key, (WIDTH, WIDTH)) * (gain / WIDTH) ** 0.5 for key in keys[2:]]
    return {
        "first": jax.random.normal(keys[0], (8, WIDTH)) * 0.5,
        "layers": [{"w": w, "b": jnp.zeros(WIDTH)} for w in layers],
        "out": jax.random.normal(keys[1], (WIDTH, CLASSES)) * 0.25,
    }


def averaging(p: Any, x: Any, through: float = 0.0) -> Any:
    h = x @ p["first"]
    for layer in p["layers"]:
        h = through * h + jax.nn.relu(MEAN @ h @ layer["w"] + layer["b"])
    return h @ p["out"]


def plain(p: Any, x: Any) -> Any:
    h = x @ p["first"]
    for layer in p["layers"]:
        h = jax.nn.relu(h @ layer["w"] + layer["b"])
    return h @ p["out"]


def normalized(p: Any, x: Any) -> Any:
    """Rows are alike before each normalization over them, and not behind it."""
    h = x @ p["first"]
    for layer in p["layers"]:
        h = 300.0 + h @ layer["w"] + layer["b"]
        h = jax.nn.relu((h - h.mean(axis=0)) / (h.std(axis=0) + 1e-5))
    return h @ p["out"]


def entropy(network: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    def loss(p: Any, batch: Any) -> Any:
        x, labels = batch
        scores = network(p, x, **options)
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    return loss


def checked(loss: Callable[..., Any], p: Any, batch: Any = (X, LABELS), rate: float = 1e-3) -> Report:
    return check_loss(loss, p, batch, optimizer=optax.adam(rate))


def collapsed(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == RULE]


def test_averages_over_neighbours_make_all_nodes_alike_from_a_layer_on() -> None:
    report = checked(entropy(averaging), params(10))
    (finding,) = collapsed(report)
    assert finding.layer is not None
    assert finding.layer.startswith("layers[")
    assert report.training is not None
    h, found = X @ params(10)["first"], report.training.spreads
    spread = np.sqrt(np.mean((h - h.mean(0)) ** 2) / np.mean(h**2))
    assert found[0].layer == "first"
    assert np.isclose(found[0].before, spread, rtol=1e-4)
    assert [each.layer for each in found] == [layer.name for layer in report.flow.layers]  # type: ignore[union-attr]


LIKELY = np.where(LABELS[:, None] == LABELS, 0.3, 0.05)
NEAR = np.triu(np.random.default_rng(1).random((NODES, NODES)) < LIKELY, 1)
NEAR = (NEAR | NEAR.T | np.eye(NODES, dtype=bool)).astype(np.float32)
DEGREE = NEAR.sum(axis=1, keepdims=True) ** -0.5
FEW = {**(GROWN := params(24, gain=1.0)), "layers": [layer["w"] for layer in GROWN["layers"]]}


def by_both_degrees(p: Any, x: Any, through: float = 0.0) -> Any:
    """What is left of a node is one vector times the root of its degree."""
    h = x @ p["first"]
    for w in p["layers"]:
        mixed = jax.nn.relu(DEGREE * (NEAR @ (DEGREE * h)) @ w)
        h = mixed + through * h if through else mixed
    return h @ p["out"]


def test_rows_of_one_direction_are_told_as_the_cause_where_residual_connections_cure_it() -> None:
    report = checked(entropy(by_both_degrees), FEW, rate=1e-2)
    (finding,) = collapsed(report)
    assert report.findings[0] is finding
    assert finding.severity.value == "error"
    assert "nearly point in one direction" in finding.message
    assert "missing-residual" in str(finding.evidence["silenced"])
    assert report.training is not None
    h, spreads = X @ FEW["first"], report.training.spreads
    unit = h / np.sqrt(np.mean(h**2, axis=1, keepdims=True))
    assert np.isclose(spreads[0].direction_before, np.sqrt(np.mean((unit - unit.mean(0)) ** 2)), rtol=1e-4)
    assert spreads[-1].before > 0.1 > 1e-3 > spreads[-1].direction_before


@pytest.mark.parametrize("through", [1.0, 0.5])
def test_rows_that_go_past_the_averages_point_where_they_like(through: float) -> None:
    assert collapsed(checked(entropy(by_both_degrees, through=through), FEW, rate=1e-2)) == []


def scanned(p: Any, x: Any) -> Any:
    def step(h: Any, layer: Any) -> Any:
        return jax.nn.relu(MEAN.astype(h.dtype) @ h @ layer["w"] + layer["b"]), None

    return jax.lax.scan(step, x @ p["first"], p["layers"])[0] @ p["out"]


def stacked(p: Any) -> Any:
    return {**p, "layers": jax.tree.map(lambda *rows: jnp.stack(rows), *p["layers"])}


def test_layers_of_a_scan_in_half_precision_are_told_too() -> None:
    halves = jax.tree.map(lambda each: each.astype(jnp.bfloat16), stacked(params(10)))
    batch = (X.astype(jnp.bfloat16), LABELS)
    for p, given in ((stacked(params(10)), (X, LABELS)), (halves, batch)):
        (finding,) = collapsed(checked(entropy(scanned), p, given))
        assert finding.layer is not None
        assert finding.layer.startswith("layers[")


class Graph(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(8, WIDTH, rngs=rngs)
        he = nnx.initializers.he_normal()
        self.layers = nnx.List([nnx.Linear(WIDTH, WIDTH, kernel_init=he, rngs=rngs) for _ in range(10)])
        self.out = nnx.Linear(WIDTH, CLASSES, rngs=rngs)

    def __call__(self, x: Any, mean: Any) -> Any:
        h = self.first(x)
        for layer in self.layers:
            h = nnx.relu(layer(mean @ h))
        return self.out(h)


def test_the_rows_are_those_of_the_last_layer_where_the_batch_holds_other_arrays() -> None:
    def loss(model: Any, batch: Any) -> Any:
        scores = model(batch["x"], batch["mean"])[: len(LABELS)]
        extra = 0 * sum(jnp.mean(batch[name]) for name in ("a", "b", "c"))
        return optax.softmax_cross_entropy_with_integer_labels(scores, batch["y"]).mean() + extra

    batch = {"x": X, "y": LABELS, "mean": MEAN, **dict.fromkeys("abc", np.ones((7, 2), np.float32))}
    assert len(collapsed(checked(loss, Graph(nnx.Rngs(0)), batch))) == 1


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("loss", "p", "batch"),
    [
        pytest.param(entropy(averaging, through=1.0), params(10, 0.2), (X, LABELS), id="residual"),
        pytest.param(entropy(averaging), params(1), (X, LABELS), id="shallow"),
        pytest.param(entropy(plain), params(20), (X, LABELS), id="deep"),
        pytest.param(entropy(plain), params(20), (np.abs(X), LABELS), id="deep, of positive inputs"),
        pytest.param(entropy(normalized), params(4), (X, LABELS), id="normalized over the rows"),
        pytest.param(entropy(plain), params(6), (X[:1], LABELS[:1]), id="a single row"),
        pytest.param(entropy(plain), params(6), (0 * X + X[:1], LABELS), id="equal rows"),
        pytest.param(
            entropy(plain), params(6) | {"out": jnp.zeros((WIDTH, CLASSES))}, (X, LABELS), id="zero head"
        ),
    ],
)
def test_networks_whose_rows_stay_apart_are_quiet(loss: Any, p: Any, batch: Any) -> None:
    assert collapsed(checked(loss, p, batch)) == []


def test_a_value_with_a_large_mean_is_quiet() -> None:
    def loss(p: Any, batch: Any) -> Any:
        value = 500.0 + plain(p, batch[0])[:, 0] + p["bias"]
        return jnp.mean((value - 500 - batch[1]) ** 2)

    assert collapsed(checked(loss, params(3) | {"bias": jnp.zeros(())}, (X, X[:, 0]))) == []


def test_no_pass_is_made_where_the_gradients_do_not_ask_for_it() -> None:
    report = checked(entropy(plain), params(6))
    assert report.training is not None
    assert report.training.spreads == ()


def test_a_loop_that_carries_one_number_is_measured() -> None:
    """Gradients of micro-batches are added up so."""

    def loss(p: Any, x: Any) -> Any:
        def add(total: Any, part: Any) -> Any:
            return total + jnp.mean((averaging(p, part) - 1.0) ** 2), None

        return jax.lax.scan(add, jnp.float32(0.0), x)[0]

    report = check_loss(loss, params(8), np.stack([X, X]), select=(RULE,))
    assert not report.skipped
