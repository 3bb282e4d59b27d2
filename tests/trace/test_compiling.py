"""Compiling a program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from gradscope.errors import GradscopeError
from gradscope.trace import compiling
from gradscope.trace.compiling import Request, compile_program, compile_programs, compiling_once
from gradscope.trace.optimization import FEW_RUNS, MUCH_WORK


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
    assert [each["xla_backend_optimization_level"] for each in asked] == [level]


def test_programs_compiled_together_are_those_compiled_alone() -> None:
    x = jnp.linspace(-1.0, 1.0, 7)
    functions = [jnp.sin, jnp.cumsum, lambda x: jnp.tanh(x) @ x]
    together = compile_programs([Request(each, (x,), runs=1) for each in functions])
    for function, compiled in zip(functions, together, strict=True):
        assert compiled(x).tobytes() == compile_program(function, (x,), runs=1)(x).tobytes()
        assert compiled.trace_s > 0
        assert compiled.compile_s > 0


def test_programs_compiled_together_keep_the_precision_of_the_caller() -> None:
    with jax.enable_x64(True):
        x = jnp.float64(0.1)
        (compiled,) = compile_programs([Request(lambda x: x * 3, (x,), runs=1)])
        assert compiled(x) == 0.1 * 3
        assert compiled(x).dtype == jnp.float64


def test_programs_compiled_together_are_compiled_once() -> None:
    x = jnp.ones(3)
    with compiling_once():
        (first,) = compile_programs([Request(jnp.sin, (x,), runs=1)])
        (again,) = compile_programs([Request(jnp.sin, (x,), runs=1)])
    assert again.executable is first.executable


def test_an_error_of_one_of_several_programs_is_raised() -> None:
    def fails(x: Any) -> Any:
        raise ValueError("no such layer")

    with pytest.raises(GradscopeError, match="no such layer"):
        compile_programs([Request(each, (jnp.ones(3),), runs=1) for each in (jnp.sin, fails)])
