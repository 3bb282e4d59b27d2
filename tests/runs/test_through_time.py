"""What a check does where the gradient cannot be followed through time: the report is whole without it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import pytest

from gradscope.errors import GradscopeError
from gradscope.runs import judged
from gradscope.runs.check import check_loss
from tests.trace import oracle


def loss(params: Any, batch: Any) -> Any:
    return oracle.error(batch @ params["w"], 0.0)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GradscopeError("Memory ran out.", why="XLA said so."), "Memory ran out."),
        (RuntimeError("a mistake"), "gradscope itself failed there (RuntimeError: a mistake)"),
    ],
)
def test_a_pass_that_fails_is_told_and_the_rest_is_reported(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(judged, "through_time", failing)
    report = check_loss(loss, {"w": jnp.ones((3, 2))}, jnp.ones((4, 3)), steps=0, through_time=True)
    assert [(entry.what, entry.reason) for entry in report.skipped] == [("credit through time", said)]
    assert report.flow is not None
    assert report.flow.layers


def test_an_option_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GradscopeError, match="--truncate is 0"):
        check_loss(loss, {"w": jnp.ones((3, 2))}, jnp.ones((4, 3)), truncate=0)
