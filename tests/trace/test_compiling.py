"""Compiling a program."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import pytest

from gradscope.trace import compiling
from gradscope.trace.compiling import FEW_RUNS, MUCH_WORK, compile_program


class Doubled:
    """A called object whose text is long, as that of one that holds a whole program."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, x: Any) -> Any:
        return x + x

    def __repr__(self) -> str:
        self.asked += 1
        return "Doubled"


def test_nothing_asks_for_the_text_of_an_object_that_is_compiled() -> None:
    doubled = Doubled()
    assert compile_program(doubled, (jnp.float32(2),), runs=1)(jnp.float32(2)) == 4
    assert doubled.asked == 0


@pytest.mark.parametrize(
    ("runs", "work", "level"), [(1, 0.0, 0), (1, 2 * MUCH_WORK, 1), (FEW_RUNS + 1, 0.0, 3)]
)
def test_optimizations_are_for_what_runs_long(
    monkeypatch: pytest.MonkeyPatch, runs: int, work: float, level: int
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(compiling, "_compiled", lambda lowered, options, to_run: asked.append(options))
    compile_program(lambda x: x, (jnp.float32(2),), runs=runs, work=work)
    assert asked == [{"xla_backend_optimization_level": level}]
