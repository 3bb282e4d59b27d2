"""Each operation that gradscope does not look into is listed with the reason that holds for it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradscope.trace.unseen import CUSTOM_RULE, OPAQUE, POOLED
from tests.trace import oracle
from tests.trace.oracle import BATCH, dense, error


@jax.custom_vjp
def net(weights: Any, x: Any) -> Any:
    for w in weights:
        x = jnp.tanh(x @ w)
    return x


net.defvjp(lambda weights, x: jax.vjp(net.fun, weights, x), lambda back, ct: back(ct))


def test_a_custom_rule_gives_no_other_operation_its_reason() -> None:
    def loss(p: Any, b: Any) -> Any:
        x = net(p["net"], b[0])
        frozen, start = lax.stop_gradient(p["loop"]), lax.stop_gradient(x)
        x += lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.tanh(c[1] @ frozen)), (0, start))[1]
        return error(lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, jnp.sort(p["stack"], axis=0))[0], b[1])

    weights = [dense(i, 4, 4)["w"] for i in range(4)]
    params = {"net": weights[:3], "loop": weights[3], "stack": np.stack(weights[:3])}
    found = oracle.measured(loss, params, BATCH).unseen
    reasons = [(one.what.split(" at ")[0], one.reason) for one in found]
    assert reasons == [("custom_vjp_call", CUSTOM_RULE), ("while", OPAQUE), ("scan", POOLED)]
