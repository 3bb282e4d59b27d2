"""Every check looks at the custom derivative rules of the file; what differs on purpose is no finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from gradscope.records import Report
from gradscope.runs.check import check_loss
from tests.trace.oracle import normal

Function = Callable[[Any], Any]
BATCH = normal(1, 16, 6)


def ruled(function: Function, backward: Callable[[Any, Any], Any]) -> Function:
    made = jax.custom_vjp(function)
    made.defvjp(lambda x: (function(x), x), lambda x, ct: (backward(x, ct),))
    return made


def checked(activation: Function, dtype: Any = jnp.float32, **given: Any) -> Report:
    params = [normal(2, 6, 8, scale=0.4).astype(dtype), normal(3, 8, 1, scale=0.4).astype(dtype)]

    def loss(params: Any, batch: Any) -> Any:
        x = batch.astype(dtype)
        return jnp.mean((activation(x @ params[0]) @ params[1]).astype(jnp.float32) ** 2)

    return check_loss(loss, params, BATCH, steps=0, **given)


RIGHT = {
    "square": ruled(jnp.square, lambda x, ct: 2 * x * ct),
    "silu": ruled(jax.nn.silu, lambda x, ct: ct * jax.grad(lambda y: jnp.sum(jax.nn.silu(y)))(x)),
}
DELIBERATE = {
    "reversal": ruled(lambda x: x, lambda x, ct: -ct),
    "clipping": ruled(lambda x: x, lambda x, ct: jnp.clip(ct, -1e-3, 1e-3)),
    "straight through": ruled(lambda x: jnp.round(x), lambda x, ct: ct),
    "spike": ruled(lambda x: (x > 0).astype(x.dtype), lambda x, ct: ct / (1 + jnp.abs(x)) ** 2),
}
ROUGH = {
    "residual in 8 bits": ruled(jnp.tanh, lambda x, ct: ct * (1 - jnp.tanh(jnp.round(64 * x) / 64) ** 2)),
}
WRONG = {
    "sign": ruled(jnp.tanh, lambda x, ct: -ct * (1 - jnp.tanh(x) ** 2)),
    "factor": ruled(jnp.square, lambda x, ct: x * ct),
    "term": ruled(jax.nn.silu, lambda x, ct: ct * jax.nn.sigmoid(x)),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_rule_is_no_longer_told_as_unverified(name: str, dtype: Any) -> None:
    found = checked(RIGHT[name], dtype)
    assert found.findings == ()
    assert found.gradients is None
    assert found.unexamined[0] == "gradients not verified"


@pytest.mark.parametrize("name", DELIBERATE)
def test_a_rule_that_differs_on_purpose_is_no_finding(name: str) -> None:
    found = checked(DELIBERATE[name])
    assert found.findings == ()
    assert found.unexamined[0] == "gradients not verified (1 custom derivative rule)"


def test_a_rule_that_is_rough_on_purpose_is_left_to_verify() -> None:
    assert checked(ROUGH["residual in 8 bits"]).findings == ()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_an_error(name: str) -> None:
    (finding,) = checked(WRONG[name]).findings
    assert (finding.rule, finding.severity.value) == ("wrong-gradient", "error")
    assert finding.source is not None
    assert checked(WRONG[name], ignore="wrong-gradient").findings == ()


def test_verify_looks_once() -> None:
    found = checked(WRONG["sign"], verified=True)
    assert found.gradients is not None
    assert [finding.rule for finding in found.findings] == ["wrong-gradient"]
