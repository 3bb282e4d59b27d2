"""The program rounded to a smaller format, against the same written by hand in NumPy and JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Precision, Report
from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6)).astype(np.float32)
Y = RNG.normal(size=(32, 1)).astype(np.float32)
PARAMS = {
    "a": RNG.normal(size=(6, 16)).astype(np.float32) / 2,
    "b": RNG.normal(size=(16, 1)).astype(np.float32) / 4,
}


def loss(p: Any, batch: Any, scale: float = 1.0) -> Any:
    x, y = batch
    return scale * jnp.mean((jnp.tanh(x @ p["a"]) @ p["b"] - y) ** 2)


def looked_at(function: Any, name: str, params: Any = PARAMS) -> tuple[Precision, Report]:
    report = check_loss(function, params, (X, Y), what_if=name, steps=0)
    assert report.flow is not None
    found = report.flow.precision
    assert found is not None
    return found, report


def cosine(one: Any, other: Any) -> float:
    a, b = (
        np.concatenate([np.ravel(e).astype(float) for e in jax.tree.leaves(each)]) for each in (one, other)
    )
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def by_hand(dtype: Any, scale: float) -> tuple[float, Any]:
    """Each operation and each derivative of it rounded, one by one."""

    def r(value: Any) -> Any:
        return np.asarray(value, np.float32).astype(dtype).astype(np.float32)

    x, y = r(X), r(Y)
    a, b = r(PARAMS["a"]), r(PARAMS["b"])
    h = r(np.tanh(r(x @ a)))
    error = r(r(h @ b) - y)
    value = r(r(np.sum(r(error**2), dtype=np.float32)) / np.float32(32))
    d_sum = r(np.float32(scale) / np.float32(32))
    d_error = r(d_sum * r(2 * error))
    d_b = r(h.T @ d_error)
    d_h = r(d_error @ b.T)
    d_a = r(x.T @ r(d_h * (1 - h * h)))
    return float(value), {"a": d_a / scale, "b": d_b / scale}


@pytest.mark.parametrize("name", ["bf16", "f16"])
def test_it_is_what_rounding_each_operation_by_hand_gives(name: str) -> None:
    dtype = {"bf16": jnp.bfloat16, "f16": np.float16}[name]
    found, _ = looked_at(loss, name)
    value, gradients = by_hand(dtype, 1.0)
    exact = jax.grad(loss)(PARAMS, (X, Y))
    assert found.rounded_loss == pytest.approx(value, rel=2 * float(jnp.finfo(dtype).eps))
    assert found.cosine == pytest.approx(cosine(exact, gradients), abs=2e-4)
    assert found.loss == pytest.approx(float(loss(PARAMS, (X, Y))), rel=1e-6)
    assert found.cosine is not None
    assert 0.999 < found.cosine < 1 - 1e-9


def test_small_deltas_fall_to_0_in_float16_and_a_loss_scale_saves_them() -> None:
    small = 1e-6
    found, report = looked_at(lambda p, b: loss(p, b, small), "f16")
    exact = jax.grad(loss)(PARAMS, (X, Y))
    assert found.scale is not None
    of_a = next(each for each in found.layers if each.layer == "a")
    delta = np.asarray(
        jax.grad(lambda z: small * jnp.mean((jnp.tanh(z) @ PARAMS["b"] - Y) ** 2))(X @ PARAMS["a"])
    )
    least = float(np.finfo(np.float16).smallest_subnormal) / 2
    assert of_a.delta_underflow == pytest.approx(float(np.mean(np.abs(delta) <= least)), abs=0.01)
    assert found.cosine_scaled is not None
    assert found.cosine is None or found.cosine_scaled > found.cosine
    assert cosine(exact, exact) == pytest.approx(1)
    assert "precision-loss" in [each.rule for each in report.findings]


def test_what_is_too_large_for_float16_is_told() -> None:
    found, report = looked_at(
        lambda p, b: jnp.log(jnp.mean(jnp.exp(loss(p, b) * 10 + 11 + 0 * p["a"][0, 0]))), "f16"
    )
    assert not np.isfinite(found.rounded_loss)
    (finding,) = [each for each in report.findings if each.rule == "precision-loss"]
    assert finding.message.startswith("Rounded to float16, the loss is not finite")


def test_eight_bits_are_in_products_and_scaled_so_that_size_does_not_matter() -> None:
    found, _ = looked_at(loss, "fp8")
    tiny, _ = looked_at(lambda p, b: loss(p, b, 2.0**-20), "fp8")
    assert found.cosine is not None
    assert 0.9 < found.cosine < 0.99999
    assert tiny.cosine == pytest.approx(found.cosine, abs=1e-3)
    assert found.layers[0].delta_underflow is None


def test_loops_checkpoints_and_custom_rules_are_gone_through() -> None:
    def net(p: Any, batch: Any) -> Any:
        x, y = batch

        @jax.checkpoint
        def step(h: Any, w: Any) -> Any:
            return jax.nn.relu(h @ w) + h, None

        h, _ = lax.scan(step, x, p["stack"])
        return jnp.mean(jax.nn.logsumexp(h, axis=-1) - h[:, 0]) + 0 * jnp.sum(y)

    params = {"stack": RNG.normal(size=(3, 6, 6)).astype(np.float32) / 3}
    found, _ = looked_at(net, "bf16", params)
    assert [each.layer for each in found.layers] == ["stack[0]", "stack[1]", "stack[2]"]
    assert all(each.cosine is not None and 0.99 < each.cosine < 1 for each in found.layers)


def test_a_program_in_bfloat16_loses_nothing_by_bfloat16() -> None:
    def narrow(p: Any, batch: Any) -> Any:
        x, y = (each.astype(jnp.bfloat16) for each in batch)
        return jnp.mean((jnp.tanh(x @ p["a"]) @ p["b"] - y) ** 2)

    params = jax.tree.map(lambda each: jnp.asarray(each, jnp.bfloat16), PARAMS)
    found, report = looked_at(narrow, "bf16", params)
    assert found.cosine is not None
    assert found.cosine > 0.9999
    assert report.findings == ()
