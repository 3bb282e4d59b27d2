"""Compiling a program."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from gradscope.trace.compiling import compile_program


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
