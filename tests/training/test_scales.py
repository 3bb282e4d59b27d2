"""Inputs and targets far from mean 0 and standard deviation 1: only where the same training says so."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Report
from gradscope.runs.check import check_loss
from gradscope.training.scales import _feature_axis

KEYS = jax.random.split(jax.random.key(0), 6)
X = jax.random.normal(KEYS[0], (128, 8))
Y = jnp.sin(X[:, :1]) + 0.5 * X[:, 1:2]
LABELS = (Y[:, 0] > 0).astype(jnp.int32)


def params(outputs: int = 1) -> Any:
    return {
        "w1": jax.random.normal(KEYS[1], (8, 32)) / 8**0.5,
        "b1": jnp.zeros(32),
        "w2": jax.random.normal(KEYS[2], (32, outputs)) / 32**0.5,
        "b2": jnp.zeros(outputs),
    }


def output(p: Any, x: Any) -> Any:
    return jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]


def squared(p: Any, batch: Any) -> Any:
    return jnp.mean((output(p, batch["x"]) - batch["y"]) ** 2)


def entropy(p: Any, batch: Any) -> Any:
    scores = output(p, batch["x"])
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["label"]).mean()


def normalizing(p: Any, batch: Any) -> Any:
    x = batch["x"]
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-5)
    return squared(p, {"x": x, "y": batch["y"]})


def found(loss: Any, batch: Any, optimizer: Any, outputs: int = 1) -> Report:
    return check_loss(loss, params(outputs), batch, optimizer=optimizer)


def told(report: Report) -> dict[str, str]:
    return {f.rule: f.severity.value for f in report.findings if f.severity.value != "note"}


@pytest.mark.parametrize(
    ("loss", "batch", "outputs", "optimizer", "severity"),
    [
        (squared, {"x": 100 * X, "y": Y}, 1, optax.sgd(0.05), "error"),
        (squared, {"x": X + 50.0, "y": Y}, 1, optax.adam(1e-3), "warning"),
        (entropy, {"x": 128 + 70 * X, "label": LABELS}, 2, optax.sgd(0.05), "warning"),
        (squared, {"x": X * jnp.asarray([1e3, *[1.0] * 7]), "y": Y}, 1, optax.adam(1e-3), "warning"),
    ],
    ids=["large", "off center", "pixels", "one feature"],
)
def test_an_input_that_is_not_normalized(
    loss: Any, batch: Any, outputs: int, optimizer: Any, severity: str
) -> None:
    report = found(loss, batch, optimizer, outputs)
    assert told(report) == {"unnormalized-input": severity}
    assert "The input `x` is not normalized" in report.findings[0].message


def test_a_target_that_is_not_scaled() -> None:
    report = found(squared, {"x": X, "y": 3e5 + 1e5 * Y}, optax.adam(1e-3))
    assert told(report) == {"unscaled-target": "warning"}
    assert "The target `y` is not scaled" in report.findings[0].message


def windows(p: Any, batch: Any) -> Any:
    return squared(p, {"x": batch["x"].reshape(128, 8), "y": batch["y"]})


WINDOWS = X.reshape(128, 4, 2)
"""Of 4 steps and 2 features."""


@pytest.mark.parametrize("axis", [1, 2], ids=["channels first", "features last"])
def test_a_raw_timestamp_inside_of_time_windows(axis: int) -> None:
    stamp = jnp.asarray([1.0, 1e3]).reshape((2, 1) if axis == 1 else (2,))
    x = WINDOWS.reshape(128, 2, 4) if axis == 1 else WINDOWS
    report = found(windows, {"x": stamp * (x + jnp.where(stamp > 1, 5.0, 0.0)), "y": Y}, optax.adam(1e-3))
    assert set(told(report)) == {"unnormalized-input"}
    assert "one feature's standard deviation is" in report.findings[0].message


def test_gates_that_an_input_saturates_are_a_symptom_of_it() -> None:
    def gated(p: Any, batch: Any) -> Any:
        gate = jax.nn.sigmoid(batch["x"] @ p["w1"] + p["b1"])
        return jnp.mean((gate @ p["w2"] + p["b2"] - batch["y"]) ** 2)

    stamped = X.at[:, 0].set(1e9 + 1e6 * X[:, 0])
    report = found(gated, {"x": stamped, "y": Y}, optax.adam(1e-2))
    assert told(report) == {"unnormalized-input": "error"}
    assert report.training is not None
    (array,) = report.training.standardized
    assert array.revived == ("b1", "w1")
    assert "zero-gradient at " in report.findings[0].message


def test_columns_of_images_are_no_features() -> None:
    """Rows and columns at the border are nearly dark."""
    border = jnp.asarray([1e-3, 1.0, 1.0, 1e-3])
    dark = border * border[:, None] * jax.random.uniform(KEYS[5], (64, 4, 4))
    assert _feature_axis(np.asarray(dark)) is None
    assert _feature_axis(np.asarray(WINDOWS)) is None
    assert _feature_axis(np.asarray(WINDOWS * jnp.asarray([1.0, 1e3]))) == 2


@pytest.mark.parametrize(
    ("loss", "batch"),
    [
        (squared, {"x": X, "y": Y}),
        (squared, {"x": 2 * X + 1, "y": 3 * Y - 2}),
        (normalizing, {"x": 1e3 * X + 500.0, "y": Y}),
    ],
    ids=["standard", "nearly", "normalized inside"],
)
def test_healthy_scales(loss: Any, batch: Any) -> None:
    assert told(found(loss, batch, optax.adam(1e-2))) == {}


def test_numbers_that_no_product_sees_and_labels_are_no_inputs() -> None:
    def weighted(p: Any, batch: Any) -> Any:
        errors = (output(p, batch["x"]) - batch["y"]) ** 2
        return jnp.sum(batch["weight"] * errors) / jnp.sum(batch["weight"])

    weights = 1000.0 + jax.random.uniform(KEYS[3], (128, 1))
    assert told(found(weighted, {"x": X, "y": Y, "weight": weights}, optax.adam(1e-2))) == {}


def test_an_additive_mask_and_an_old_log_probability_are_no_inputs() -> None:
    mask = jnp.where(jnp.tril(jnp.ones((16, 16))) > 0, 0.0, -1e9) + jnp.linspace(0.0, 1.0, 16)

    def attention(p: Any, batch: Any) -> Any:
        h = batch["x"].reshape(8, 16, 8) @ p["w1"]
        scores = h @ jnp.swapaxes(h, 1, 2) / 32**0.5 + batch["mask"]
        out = (jax.nn.softmax(scores) @ h) @ p["w2"]
        ratio = jnp.exp(-jnp.abs(out[..., 0] - batch["old"].reshape(8, 16)))
        return jnp.mean((out[..., 0] - batch["y"].reshape(8, 16)) ** 2) - 0.01 * jnp.mean(ratio)

    old = -30.0 + jax.random.normal(KEYS[4], (128,))
    batch = {"x": X, "y": Y, "mask": mask, "old": old}
    p = {"w1": params()["w1"], "w2": params()["w2"]}
    assert told(check_loss(attention, p, batch, optimizer=optax.adam(1e-2))) == {}


def test_an_input_that_a_parameter_centers_is_an_input() -> None:
    def centered(p: Any, batch: Any) -> Any:
        return squared(p["net"], {"x": batch["x"] - p["mu"], "y": batch["y"]})

    p = {"net": params(), "mu": jnp.zeros(8)}
    report = check_loss(centered, p, {"x": 100 * X, "y": Y}, optimizer=optax.sgd(0.05))
    assert told(report) == {"unnormalized-input": "error"}


def test_an_array_that_is_input_and_target_is_not_standardized() -> None:
    """The loss of an autoencoder on other numbers is another loss."""

    def reconstruction(p: Any, x: Any) -> Any:
        return jnp.mean((x - output(p, x)) ** 2)

    report = check_loss(reconstruction, params(8), 100 * X, optimizer=optax.adam(1e-3))
    assert report.training is not None
    assert report.training.standardized == ()


def test_an_input_beside_its_layer_is_no_target() -> None:
    """A residual connection, and a normalization that squares what it subtracts the mean from."""

    def residual(p: Any, batch: Any) -> Any:
        x = batch["x"] + output(p["layer"], batch["x"])
        x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
        return squared(p["head"], {"x": x, "y": batch["y"]})

    p = {"layer": params(8), "head": params()}
    report = check_loss(residual, p, {"x": 100 * X, "y": Y}, optimizer=optax.adam(1e-3))
    assert report.training is not None
    assert [array.name for array in report.training.standardized] == ["x"]


MISSING = jax.random.uniform(KEYS[3], (128,)) < 0.15
WITH_GAPS = X.at[:, 0].set(jnp.where(MISSING, -9999.0, 5.0 + 1.5 * X[:, 0]))


@pytest.mark.parametrize(
    ("x", "value"),
    [(WITH_GAPS, "-9999"), ((WITH_GAPS - WITH_GAPS.mean(0)) / WITH_GAPS.std(0), "-2.")],
    ids=["raw", "standardized with it inside"],
)
def test_a_number_that_stands_for_missing_ones_is_named(x: Any, value: str) -> None:
    report = found(squared, {"x": x, "y": Y}, optax.adam(1e-3))
    (finding,) = (each for each in report.findings if each.rule == "unnormalized-input")
    assert finding.severity.value in ("warning", "error")
    assert f"of column 0 of the input `x` are exactly {value}" in finding.message
    assert "Subtract the mean" not in finding.remedy


@pytest.mark.parametrize(
    "x",
    [
        X.at[:, 0].set(jnp.where(MISSING, 0.0, X[:, 0])),
        jnp.clip(X, -1.0, 1.0),
        X.at[:, 0].set(jnp.where(MISSING, 0.0, 3.0 + 0.5 * X[:, 0])),
        X.at[:, 0].set(jnp.log10(jnp.where(MISSING, 0.0, jnp.exp(X[:, 0])) + 1e-8)),
        X.at[:, 0].set(MISSING.astype(jnp.float32)),
    ],
    ids=["median", "clipped", "zeros", "log of an epsilon", "flags"],
)
def test_no_number_of_these_stands_for_missing_ones(x: Any) -> None:
    report = found(squared, {"x": x, "y": Y}, optax.adam(1e-3))
    assert not any("may stand for missing" in each.message for each in report.findings)


def test_a_loss_that_replaces_them_itself_is_left_alone() -> None:
    def replacing(p: Any, batch: Any) -> Any:
        return squared(p, {"x": jnp.where(batch["x"] == -9999, 5.0, batch["x"]), "y": batch["y"]})

    assert told(found(replacing, {"x": WITH_GAPS, "y": Y}, optax.adam(1e-3))) == {}
