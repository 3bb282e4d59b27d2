"""What fails while a rule is checked: the user's rule, want of memory, or gradscope itself."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from gradscope.trace.compiling import NotEnoughMemory
from tests.verification.rules.made import CANNOT, WRONG, check, normal, one, with_vjp


def test_a_rule_that_raises_cannot_be_judged_and_says_what_it_raised() -> None:
    def backward(r: Any, g: Any) -> Any:
        raise NotImplementedError("no gradient yet")

    found = one(check(with_vjp(jnp.sin, backward), normal(3)))
    assert found.verdict is CANNOT
    assert found.reason == "its rule raises NotImplementedError: no gradient yet"


@pytest.mark.parametrize(
    "error",
    [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")],
)
def test_want_of_memory_is_not_the_fault_of_the_rule(error: Exception) -> None:
    def backward(r: Any, g: Any) -> Any:
        raise error

    with pytest.raises(NotEnoughMemory, match="Memory ran out") as caught:
        check(with_vjp(jnp.sin, backward), normal(3))
    assert caught.value.slug == "not-enough-memory"


def test_a_mistake_of_ours_is_not_taken_for_a_function_without_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = with_vjp(jnp.sin, lambda r, g: (g,))
    assert one(check(wrong, normal(3))).verdict is WRONG
    monkeypatch.delattr("gradscope.verification.rules.derivatives.widened")
    with pytest.raises(NameError):
        check(wrong, normal(3))
