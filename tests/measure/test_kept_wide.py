"""What is kept as it is in a rounded program: against the same by hand, and on programs with a weak place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.kept_wide import MOST_LINES, AlikeOperations, Groups, tried
from gradscope.measure.precision import _Rounded
from gradscope.records import KeptWide, Source
from gradscope.trace.program import Tracer
from tests.measure.test_precision import PARAMS, X, Y, cosine, looked_at, loss

BIG = 4096.0


def rounded_gradients(keep: Callable[[Any], bool]) -> Any:
    tracer = Tracer(Problem(loss, PARAMS, (X, Y)))
    program, inputs = tracer.trace((X, Y)), tracer.inputs((X, Y))
    run = _Rounded(program, "bf16", inputs)
    return run(inputs, 1.0, run.groups.kept(keep))[1]


def r(value: Any) -> Any:
    return np.asarray(value, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)


def by_hand(products: bool, functions: bool) -> Any:
    """The gradients of `loss`, with products of matrices, or what is no product, sum or difference, kept."""
    p, f = (np.asarray if keeps else r for keeps in (products, functions))
    x, y, a, b = r(X), r(Y), r(PARAMS["a"]), r(PARAMS["b"])
    h = f(np.tanh(p(x @ a)))
    error = r(p(h @ b) - y)
    d_out = p(r(r(np.float32(1 / 32)) * 2 * error))
    d_h = f(d_out @ b.T)
    d_z = p(d_h * (1 - h * h))
    return [r(x.T @ d_z), r(h.T @ d_out)]


@pytest.mark.parametrize("kind", ["products", "functions"])
def test_what_is_kept_is_rounded_neither_forward_nor_backward(kind: str) -> None:
    found = rounded_gradients(lambda group: group.kind == kind)
    expected = by_hand(kind == "products", kind == "functions")
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=2e-3 * np.abs(theirs).max())
    wrong = by_hand(kind != "products", kind != "functions")
    assert 1 - cosine(found, expected) < 0.2 * (1 - cosine(found, wrong))


def test_with_everything_kept_only_inputs_are_rounded() -> None:
    found = rounded_gradients(lambda group: True)
    params = {name: r(value) for name, value in PARAMS.items()}
    exact = jax.grad(loss)(params, (r(X), r(Y)))
    np.testing.assert_allclose(found[0], r(exact["a"]), rtol=1e-6)


def offset(p: Any, batch: Any) -> Any:
    x, y = batch
    shifted = jnp.tanh(x @ p["a"]) @ p["b"] + BIG
    error = shifted - (y + BIG)
    return jnp.mean(error**2)


def summed(p: Any, batch: Any) -> Any:
    x, y = batch
    h = jnp.tanh(x @ p["a"]) @ p["b"]
    rows = jnp.concatenate([jnp.full_like(h, BIG), h], axis=1)

    def total(rows: Any) -> Any:
        return lax.reduce_sum(rows, (1,))

    return jnp.mean((total(rows)[:, None] - BIG - 0.1 * y) ** 2)


def test_sums_that_swallow_what_they_add_up_are_found_with_their_line() -> None:
    found, report = looked_at(summed, "bf16")
    assert found.kept_before is not None
    assert found.kept_before < 0.9
    assert found.best_kind is not None
    assert found.best_kind.kind == "sums"
    assert found.best_kind.cosine > 0.99
    line = found.best_line
    assert line is not None
    assert line.source is not None
    assert line.source.text == "return lax.reduce_sum(rows, (1,))"
    assert line.cosine == pytest.approx(found.best_kind.cosine, abs=1e-3)
    (finding,) = [each for each in report.findings if each.rule == "precision-loss"]
    assert finding.remedy.startswith("Keep the sums at ")


def test_sums_of_two_are_found_too() -> None:
    found, _ = looked_at(offset, "bf16")
    assert found.best_kind is not None
    assert found.best_kind.kind == "others"
    assert found.kept_before is not None
    assert found.best_kind.cosine > max(found.kept_before, 0.99)


def test_nothing_is_tried_where_nothing_is_lost() -> None:
    found, _ = looked_at(loss, "bf16")
    assert found.kept == ()
    assert found.kept_before is None


def test_trials_are_few_however_long_the_program() -> None:
    groups = object.__new__(Groups)
    groups.all = [AlikeOperations("sums", None, 1), AlikeOperations("functions", None, 1)]
    groups.all += [AlikeOperations("others", Source("m.py", line, ""), line) for line in range(40)]
    asked: list[Any] = []

    def worst(keep: Any) -> float:
        asked.append(keep)
        return float(keep.sum()) / 100

    found = tried(groups, worst)
    assert len(found) == len(asked) == 3 + MOST_LINES
    assert found[2] == KeptWide("others", None, 0.4)
    lines = [each.source.line for each in found if each.source is not None]
    assert lines == list(range(39, 39 - MOST_LINES, -1)), "those with the most elements"
