"""The same comparison at several widths, on losses whose best learning rate is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.errors import GradscopeError
from gradscope.records import Comparison
from gradscope.records.options import CompareOptions
from gradscope.runs.optimizers import compare_optimizers

QUADRATIC = """
import jax, jax.numpy as jnp, numpy as np, optax

batch = np.ones(1, np.float32)

def init(key, width=4):
    return {{"x": 1.0 + 0.1 * jax.random.normal(key, (width,))}}

def loss_fn(params, batch):
    return 0.5 * jnp.sum(batch) * {curvature} * jnp.mean(params["x"] ** 2)

optimizer = optax.sgd(1e-3)
"""


def compared(tmp_path: Path, curvature: str, **terms: object) -> Comparison:
    file = tmp_path / "net.py"
    file.write_text(QUADRATIC.format(curvature=curvature), encoding="utf-8")
    usual = {"optimizers": ("sgd",), "steps": 20, "seeds": 2, "grid": 3, "widths": (4, 64)}
    found = compare_optimizers(str(file), terms=CompareOptions(**{**usual, **terms})).optimizers  # type: ignore[arg-type]
    assert found is not None
    return found


def rates(found: Comparison) -> list[float]:
    rows = {row.width: row.learning_rate for row in found.widths if row.name == "sgd"}
    return [rates for _, rate in sorted(rows.items()) if (rates := rate or 0.0)]


def test_a_best_rate_that_moves_with_the_width_is_told(tmp_path: Path) -> None:
    found = compared(tmp_path, "params['x'].size")  # Of each element the curvature is 1.
    assert {row.width for row in found.widths} == {4, 64}
    assert found.parameters == 64, "the table is that of the widest"
    one, other = rates(found)
    assert other == pytest.approx(one, rel=1.0)
    assert any("stays within half a decade: sgd" in said for said in found.reasons)

    moving = compared(tmp_path, "params['x'].size ** 2")  # 4 and 64: the best rate falls by 16.
    one, other = rates(moving)
    assert one / other == pytest.approx(16, rel=0.5)
    assert any("From width 4 to 64 the best learning rate moves: sgd from" in said for said in moving.reasons)


def test_gains_are_over_the_optimizer_that_was_named_first(tmp_path: Path) -> None:
    found = compared(tmp_path, "params['x'].size")
    assert found.reference == "sgd"
    for row in found.widths:
        assert row.gain is not None
        assert row.gain == pytest.approx(1.0) if row.name == "sgd" else row.gain < 0.2


def test_one_width_and_a_width_that_changes_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GradscopeError, match="--widths is 4"):
        compared(tmp_path, "1.0", widths=(4,))
    file = tmp_path / "net.py"
    file.write_text(QUADRATIC.format(curvature="1.0").replace("(width,)", "(3,)"), encoding="utf-8")
    with pytest.raises(GradscopeError, match="as many parameters at several widths") as caught:
        compare_optimizers(str(file), terms=CompareOptions(("sgd",), 20, 1, 1, widths=(4, 8)))
    assert caught.value.slug == "no-width"
