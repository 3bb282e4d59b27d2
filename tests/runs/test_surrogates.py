"""Surrogate gradients: the share of elements in their window, against plain NumPy, and the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.records import Surrogate
from gradscope.runs.check import check, check_loss
from tests.trace.oracle import normal

SAMPLES = Path(__file__).parents[2] / "sample_models"
X = normal(1, 64, 6)
PARAMS = {"a": normal(2, 6, 8, scale=0.4), "b": normal(3, 8, 1, scale=0.4)}


@jax.custom_vjp
def spike(v: Any) -> Any:
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * (jnp.abs(v) < 0.25),))


@jax.custom_jvp
def rounded(v: Any) -> Any:
    return jnp.round(v)


rounded.defjvps(lambda dv, out, v: dv * (jnp.abs(v) < 0.5))


def surrogates(function: Any, steps: int = 1) -> tuple[Surrogate, ...]:
    def loss(params: Any, batch: Any) -> Any:
        def step(h: Any, _: Any) -> Any:
            return h, function(1.0 * (batch @ params["a"]) - 0.1)

        outs = jax.lax.scan(step, 0.0, None, length=steps)[1][-1] if steps > 1 else step(0.0, None)[1]
        return jnp.mean((outs @ params["b"] - 1.0) ** 2)

    flow = check_loss(loss, PARAMS, X, steps=0).flow
    assert flow is not None
    return flow.surrogates


@pytest.mark.parametrize(
    ("function", "half", "steps"), [(spike, 0.25, 1), (spike, 0.25, 3), (rounded, 0.5, 1)]
)
def test_the_share_is_that_of_the_elements_in_the_window(function: Any, half: float, steps: int) -> None:
    (found,) = surrogates(function, steps)
    inside = np.abs(X @ PARAMS["a"] - np.float32(0.1)) < half
    assert found.window == pytest.approx(inside.mean(), abs=1e-3)
    assert found.layers == ("a",)
    assert found.function == function.__name__


@pytest.mark.parametrize("steps", [1, 3])
def test_each_layer_that_goes_into_one_function_has_its_own_share(steps: int) -> None:
    params = {**PARAMS, "wide": normal(4, 6, 8, scale=2.0)}

    def loss(params: Any, batch: Any) -> Any:
        found = 0.0
        for _ in range(steps):
            found += (spike(batch @ params["a"]) * spike(batch @ params["wide"])) @ params["b"]
        return jnp.mean((found - 1.0) ** 2)

    flow = check_loss(loss, params, X, steps=0).flow
    assert flow is not None
    assert {each.layers: each.window for each in flow.surrogates} == {
        (name,): pytest.approx((np.abs(X @ params[name]) < 0.25).mean(), abs=1e-3) for name in ("a", "wide")
    }


@pytest.mark.parametrize("function", [jnp.tanh, jax.nn.relu])
def test_a_function_with_a_derivative_has_none(function: Any) -> None:
    ruled = jax.custom_vjp(function)
    ruled.defvjp(lambda v: (function(v), v), lambda v, g: jax.vjp(function, v)[1](g))
    assert not surrogates(ruled)


def test_units_out_of_reach_are_told_with_their_surrogate_and_a_healthy_net_is_healthy() -> None:
    healthy = check(str(SAMPLES / "spiking_net.py"))
    assert not healthy.findings
    assert healthy.flow is not None
    (surrogate,) = healthy.flow.surrogates
    assert surrogate.layers == ("enter",)
    assert 0.1 < surrogate.window < 0.4
    (finding,) = check(str(SAMPLES / "spiking_net_out_of_reach.py")).findings
    assert (finding.rule, finding.layer) == ("zero-gradient", "enter")
    assert "whose surrogate gradient is 0 at every element" in finding.message


def test_units_that_are_silent_at_first_and_wake_are_not_dead(tmp_path: Path) -> None:
    """With a wider window the same weights come alive within the short training."""
    code = (SAMPLES / "spiking_net_out_of_reach.py").read_text(encoding="utf-8")
    file = tmp_path / "net.py"
    file.write_text(code.replace("1.0 - 2.0 * jnp.abs(v)", "1.0 - jnp.abs(v)"), encoding="utf-8")
    assert "zero-gradient" not in [each.rule for each in check(str(file)).findings]


def test_a_rule_for_an_argument_that_is_not_read_is_no_surrogate() -> None:
    """A bias that the function forgets, or feedback that learns."""
    dense = jax.custom_vjp(lambda x, w, b: x @ w)
    dense.defvjp(
        lambda x, w, b: (x @ w, (x, w)), lambda kept, g: (g @ kept[1].T, kept[0].T @ g, jnp.sum(g, 0))
    )

    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean((dense(jnp.tanh(batch @ params["a"]), params["b"], params["c"]) - 1.0) ** 2)

    flow = check_loss(loss, {**PARAMS, "c": np.zeros(1, np.float32)}, X, steps=0).flow
    assert flow is not None
    assert not flow.surrogates


def test_a_dead_layer_of_a_stack_is_dead_though_the_array_has_a_gradient() -> None:
    params = {"w": normal(5, 3, 6, 6, scale=0.4), "b": np.zeros((3, 6), np.float32)}
    params["b"][1] = -50.0

    def loss(params: Any, batch: Any) -> Any:
        step = lambda h, layer: (h + jax.nn.relu(h @ layer["w"] + layer["b"]), None)  # noqa: E731
        return jnp.mean((jax.lax.scan(step, batch, params)[0] - 1.0) ** 2)

    (finding,) = check_loss(loss, params, X, select=("zero-gradient",)).findings
    assert finding.layer == "w[1]"
