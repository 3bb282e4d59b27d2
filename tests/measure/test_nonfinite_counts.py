"""NaN and infinity: where they were before anything ran, and where they came up."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.trace import oracle
from tests.trace.oracle import BATCH, RECURRENT, SEQUENCE, TWO, apply, error, loss_of_two, step


def test_a_nan_in_the_loss_alone_leaves_every_layer_finite() -> None:
    found = oracle.measured(lambda p, b: loss_of_two(p, b) + jnp.log(-jnp.sum(b[0] ** 2)), TWO, BATCH)
    assert np.isnan(found.loss)
    assert found.nonfinite_values == ()
    assert found.layers[0].gradient_nonfinite_share == 0


def test_a_nan_in_a_weight_is_counted_and_named() -> None:
    w = TWO["second"]["w"].copy()
    w[1, 2] = np.nan
    found = oracle.measured(loss_of_two, {**TWO, "second": {**TWO["second"], "w": w}}, BATCH)
    assert oracle.parameter(found, "second.w").weight_nonfinite == 1
    assert oracle.parameter(found, "first.w").weight_nonfinite == 0
    first = found.nonfinite_values[0]
    assert (first.layer, first.forward) == ("second", True)


def test_a_nan_in_the_batch_is_counted_and_named() -> None:
    x = BATCH[0].copy()
    x[3] = np.inf
    (found,) = oracle.measured(loss_of_two, TWO, (x, BATCH[1])).nonfinite_inputs
    assert (found.name, found.count, found.size) == ("[0]", 4, 32)


def test_a_gradient_that_alone_is_nan_is_told_from_the_loss_back() -> None:
    def rooted(p: Any, b: Any) -> Any:
        h = apply(p["first"], b[0])
        return error(apply(p["second"], jnp.sqrt((h - h) ** 2)), b[1])

    found = oracle.measured(rooted, TWO, BATCH)
    assert np.isfinite(found.loss)
    assert [(v.layer, v.forward) for v in found.nonfinite_values] == [("first", False)]
    assert oracle.layer(found, "first").gradient_nonfinite_share == 1
    assert oracle.layer(found, "second").gradient_nonfinite_share == 0


@pytest.mark.parametrize("reverse", [False, True])
def test_the_first_step_with_a_nan_is_counted_in_the_order_of_execution(reverse: bool) -> None:
    x = SEQUENCE[0].copy()
    x[3] = np.nan

    def recurrent(p: Any, b: Any) -> Any:
        start = jnp.zeros((3, 4))
        h, _ = lax.scan(lambda h, x: (step(p["cell"], h, x), None), start, b[0], reverse=reverse)
        return error(apply(p["head"], h), b[1])

    found = oracle.measured(recurrent, RECURRENT, (x, SEQUENCE[1]))
    (cell,) = [v for v in found.nonfinite_values if v.forward and v.layer == "cell"]
    assert cell.step == (1 if reverse else 3)
