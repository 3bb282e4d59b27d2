"""Losses over two devices: the same gradients are verified, wherever the params lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from gradscope.load.problem import Problem
from gradscope.records import Verdict
from gradscope.records.progress import silent
from gradscope.verification.verify import Verified, verify

MESH = Mesh(np.array(jax.devices()[:2]), ("x",))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 4)).astype(np.float32)
Y = X.sum(1, keepdims=True)
W, V = (RNG.normal(size=shape).astype(np.float32) / 2 for shape in ((4, 6), (6, 1)))
Act = Callable[[Any], Any]


@jax.custom_vjp
def halved(x: Any) -> Any:
    """Tanh, whose rule gives half of the gradient."""
    return jnp.tanh(x)


halved.defvjp(lambda x: (jnp.tanh(x), x), lambda x, ct: (0.5 * ct * (1 - jnp.tanh(x) ** 2),))


def by_examples(act: Act = jnp.tanh) -> Callable[..., Any]:
    def local(p: Any, x: Any, y: Any) -> Any:
        return jax.lax.pmean(jnp.mean((act(x @ p["w"]) @ p["v"] - y) ** 2), "x")

    mapped = jax.shard_map(local, mesh=MESH, in_specs=(P(), P("x"), P("x")), out_specs=P())
    return lambda p, batch: mapped(p, *batch)


def by_units(p: Any, batch: Any) -> Any:
    def local(w: Any, v: Any, x: Any) -> Any:
        return jax.lax.psum(jnp.tanh(x @ w) @ v, "x")

    specs = (P(None, "x"), P("x", None), P())
    mapped = jax.shard_map(local, mesh=MESH, in_specs=specs, out_specs=P())
    return jnp.mean((mapped(p["w"], p["v"], batch[0]) - batch[1]) ** 2)


def without_a_mesh(p: Any, batch: Any) -> Any:
    return jnp.mean((jnp.tanh(batch[0] @ p["w"]) @ p["v"] - batch[1]) ** 2)


def placed(value: Any, *spec: Any) -> Any:
    return jax.device_put(value, NamedSharding(MESH, P(*spec)))


ON_THE_HOST = {"w": W, "v": V}
ON_ONE = {"w": jnp.asarray(W), "v": jnp.asarray(V)}
COPIED = {"w": placed(W), "v": placed(V)}
SPREAD = {"w": placed(W, None, "x"), "v": placed(V, "x", None)}
SHARED = placed(X, "x"), placed(Y, "x")


def verified(loss: Any, p: Any, batch: Any) -> Verified:
    return verify(Problem(loss, p, batch), per_element=2, progress=silent)


@pytest.mark.parametrize(
    ("loss", "p", "batch"),
    [
        pytest.param(by_examples(), ON_ONE, (X, Y), id="params on one device"),
        pytest.param(by_examples(), ON_THE_HOST, (X, Y), id="params of numpy"),
        pytest.param(by_examples(), COPIED, SHARED, id="params on both devices"),
        pytest.param(by_examples(), ON_ONE, SHARED, id="params on one device, examples on both"),
        pytest.param(by_units, ON_ONE, (X, Y), id="units, params on one device"),
        pytest.param(by_units, SPREAD, (X, Y), id="units, params on both devices"),
        pytest.param(without_a_mesh, ON_ONE, SHARED, id="without shard_map"),
    ],
)
def test_right_gradients_over_two_devices_are_right(loss: Any, p: Any, batch: Any) -> None:
    found = verified(loss, p, batch)
    assert [check.verdict for check in found.gradients] == [Verdict.RIGHT, Verdict.RIGHT]
    assert all(check.verdict is Verdict.RIGHT for check in found.elements)
    assert found.loss == pytest.approx(float(without_a_mesh(ON_ONE, (X, Y))), rel=1e-5)


def test_a_wrong_rule_on_each_of_two_devices_is_not_called_right() -> None:
    found = verified(by_examples(halved), ON_ONE, (X, Y))
    verdicts = {check.parameter: check.verdict for check in found.gradients}
    assert verdicts == {"w": Verdict.CANNOT_JUDGE, "v": Verdict.RIGHT}
    (rule,) = found.custom_rules
    assert "inside `shard_map`" in rule.reason
