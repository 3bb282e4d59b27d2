"""Faults of the loss itself, from a target to the finding."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from gradscope import check
from gradscope.records import Finding, Severity

RNG = np.random.default_rng(7)
X = RNG.normal(size=(32, 4)).astype(np.float32)
Y = X.sum(1)


class Mlp(nnx.Module):
    def __init__(self, out: int, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(4, 8, rngs=rngs)
        self.out = nnx.Linear(8, out, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.out(nnx.relu(self.hidden(x)))


def findings(loss: Any, params: Any, batch: Any) -> list[Finding]:
    return list(check(loss, params, batch).findings)


def test_a_broadcast_loss_names_the_line_and_the_last_layer() -> None:
    def loss(model: Any, batch: Any) -> Any:
        x, y = batch
        return jnp.mean((model(x) - y) ** 2)  # every prediction against every target

    (finding,) = findings(loss, Mlp(1, nnx.Rngs(0)), (X, Y))
    assert (finding.rule, finding.severity, finding.layer) == ("broadcast-loss", Severity.ERROR, "out")
    assert finding.source is not None
    assert "every prediction against every target" in finding.source.text
    assert findings(loss, Mlp(1, nnx.Rngs(0)), (X, Y[:, None])) == []
