"""The gradient with respect to the inputs, against plain `jax.grad` and a loop over features."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradscope
from gradscope.records import InputGradient, Measurement

ROWS = np.random.default_rng(0)
X = ROWS.normal(size=(12, 5)).astype(np.float32)
Y = ROWS.normal(size=(12,)).astype(np.float32)
W = jnp.asarray(ROWS.normal(size=(4, 3)).astype(np.float32))
V = jnp.asarray(ROWS.normal(size=(3,)).astype(np.float32))


def loss(params: Any, batch: Any) -> Any:
    """Does not see the fourth feature."""
    x, y = batch
    seen = jnp.concatenate([x[:, :3], x[:, 4:]], axis=1)
    return jnp.mean((jnp.tanh(seen @ params["w"]) @ params["v"] - y) ** 2)


def measured(loss_fn: Any, params: Any, batch: Any, **more: Any) -> Measurement:
    report = gradscope.check(loss_fn, params, batch, steps=0, inputs=True, **more)
    assert report.flow is not None
    return report.flow


def only(found: Measurement) -> InputGradient:
    (one,) = found.input_gradients
    return one


def test_it_is_the_gradient_that_jax_gives() -> None:
    found = only(measured(loss, {"w": W, "v": V}, (X, Y)))
    gradient = np.asarray(jax.grad(lambda x: loss({"w": W, "v": V}, (x, Y)))(X), np.float64)
    assert (found.name, found.rows, found.features, found.constant) == ("batch[0]", 12, 5, 0)
    assert found.rms == pytest.approx(np.sqrt((gradient**2).mean()), rel=1e-5)
    assert (found.ignored, found.ignored_count) == (("[3]",), 1)
    shares = (gradient**2).sum(axis=0) / (gradient**2).sum()
    assert [each.index for each in found.strongest] == [f"[{i}]" for i in np.argsort(-shares)]
    assert [each.share for each in found.strongest] == pytest.approx(sorted(shares, reverse=True), rel=1e-4)


def test_the_step_is_the_one_of_goodfellow_and_others() -> None:
    params = {"w": W, "v": V}
    step = measured(loss, params, (X, Y)).adversarial
    assert step is not None
    gradient = jax.grad(lambda x: loss(params, (x, Y)))(X)
    moved = X + 0.1 * X.std() * np.sign(gradient)
    assert step.before == pytest.approx(float(loss(params, (X, Y))), rel=1e-6)
    assert step.after == pytest.approx(float(loss(params, (moved, Y))), rel=1e-4)
    assert step.before < step.random < step.after or step.random < step.after


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_what_is_ignored_does_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    found = only(measured(lambda p, b: scale * loss(p, b), {"w": W, "v": V}, (X, Y)))
    assert found.ignored == ("[3]",)
    assert sum(each.share for each in found.strongest) == pytest.approx(1.0, rel=1e-4)


def test_constant_features_are_counted_apart() -> None:
    x = X.copy()
    x[:, 3] = 1.0
    found = only(measured(loss, {"w": W, "v": V}, (x, Y)))
    assert (found.constant, found.ignored_count) == (1, 0)


def test_pictures_are_counted_by_element() -> None:
    images = ROWS.normal(size=(6, 4, 4, 2)).astype(np.float32)

    def of_images(params: Any, batch: Any) -> Any:
        return jnp.mean((batch[..., 0].reshape(6, 16) @ params) ** 2)

    found = only(measured(of_images, jnp.ones((16, 2)), images))
    assert (found.features, found.ignored_count) == (32, 16)
    assert found.ignored[:2] == ("[0][0][1]", "[0][1][1]")


def test_tokens_have_no_gradient_and_the_report_says_so() -> None:
    def of_tokens(params: Any, batch: Any) -> Any:
        return jnp.mean(params["embed"][batch] @ params["w"])

    report = gradscope.check(
        of_tokens, {"embed": jnp.ones((5, 3)), "w": jnp.ones((3, 1))}, np.arange(5), steps=0, inputs=True
    )
    assert report.flow is not None
    assert report.flow.input_gradients == ()
    assert any(each.what == "inputs" for each in report.skipped)


def test_all_batches_are_looked_at() -> None:
    batches = [(X[:6], Y[:6]), (X[6:], Y[6:])]
    found = only(measured(loss, {"w": W, "v": V}, None, batches=batches, count=2))
    assert found.rows == 12


def test_the_rule_says_what_is_ignored_and_not_where_everything_is() -> None:
    report = gradscope.check(loss, {"w": W, "v": V}, (X, Y), steps=0, inputs=True)
    (finding,) = [each for each in report.findings if each.rule == "ignored-input"]
    assert finding.severity is gradscope.Severity.NOTE
    assert "1 of 5 features of `batch[0]` ([3]) has no influence on the loss" in finding.message
    without = gradscope.check(loss, {"w": W, "v": V}, (X, Y), steps=0)
    assert not [each for each in without.findings if each.rule == "ignored-input"]
