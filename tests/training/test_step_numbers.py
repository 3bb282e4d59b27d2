"""What a step does to a leaf: by pieces in NumPy as in one piece on a device."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.training import step_numbers
from gradscope.training.step_numbers import ASKED, NUMBERS, RAW, UNCHANGED, UPDATE_MAX, numbers_of_step


def arrays(dtype: Any, size: int = 1000) -> list[Any]:
    """Gradient, update, weights before and after, with elements that are zero and that do not move."""
    rng = np.random.default_rng(0)
    gradient, update, before = (rng.normal(size=(size // 10, 10)).astype(np.float32) for _ in range(3))
    gradient[::3], update[1::5] = 0, 0
    after = np.where(rng.random(before.shape) < 0.3, before, before + 1e-3 * update)
    return [jnp.asarray(each, dtype) for each in (gradient, 1e-3 * update, before, after)]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("piece", [7, 2**15])
def test_pieces_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch, dtype: Any, piece: int) -> None:
    given = arrays(dtype)
    monkeypatch.setattr(step_numbers, "PIECE", piece)
    (found,) = numbers_of_step(*([each] for each in given))
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    (truth,) = numbers_of_step(*([each] for each in given))
    assert np.shape(found) == (NUMBERS,)
    np.testing.assert_allclose(found, np.asarray(truth, np.float64), rtol=1e-5)
    g, u, p, q = (np.asarray(each, np.float32) for each in given)
    asked = (g != 0) & (u != 0)
    assert (found[ASKED], found[UNCHANGED]) == (asked.sum(), (asked & (p == q)).sum())
    assert found[RAW] == 0


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf])
def test_an_update_of_zeros_or_without_a_number(fill: float) -> None:
    (found,) = numbers_of_step(*([np.full(5, fill, np.float32)] for _ in range(4)))
    np.testing.assert_equal(found[UPDATE_MAX], fill)
    assert found[RAW] == float(not np.isnan(fill))


def test_a_gradient_that_is_applied_as_it_is() -> None:
    gradient = np.arange(6, dtype=np.float32)
    for changed in (False, True):
        update = gradient + np.float32(changed) * (np.arange(6) == 5)
        (found,) = numbers_of_step([gradient], [update], [gradient], [gradient + update])
        assert found[RAW] == float(not changed)
