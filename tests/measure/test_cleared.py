"""What the batch alone clears: the mask of a task without labels, a part of the input that no example has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Finding, Severity
from gradscope.runs.check import check_loss
from tests.trace.oracle import normal

N = 32
X, Y = normal(0, N, 5), normal(3, N, 2)
NONE = np.zeros(N, np.float32)
SOME = np.where(np.arange(N) < 2, 1, NONE).astype(np.float32)
TASKS = {"body": normal(1, 5, 8), "a": normal(2, 8, 2), "b": normal(4, 8, 2)}
Masked = Callable[[Any, Any], Any]


def zero_gradient(loss: Any, params: Any, batch: Any) -> list[Finding]:
    report = check_loss(loss, params, batch, optimizer=optax.adam(1e-2))
    return [each for each in report.findings if each.rule == "zero-gradient"]


def two_tasks(masked: Masked) -> Callable[[Any, Any], Any]:
    def loss(p: Any, batch: Any) -> Any:
        x, y, mask = batch
        h = jnp.tanh(x @ p["body"])
        return jnp.mean((h @ p["a"] - y) ** 2) + masked(((h @ p["b"] + y) ** 2).mean(1), mask)

    return loss


def times(errors: Any, mask: Any) -> Any:
    return (errors * mask).sum() / jnp.maximum(mask.sum(), 1)


def chosen(errors: Any, mask: Any) -> Any:
    return jnp.where(mask > 0, errors, 0).mean()


def left_out(errors: Any, mask: Any) -> Any:
    return jnp.where(mask < 0.5, 0, errors).mean()


@pytest.mark.parametrize(
    ("masked", "said"),
    [
        (times, "by an array of the batch that is 0 everywhere, as the mask of a task may be."),
        (chosen, "takes no element of what is computed from it, by an array of the batch, as"),
        (left_out, "takes no element of what is computed from it"),
    ],
)
def test_a_task_without_labels_in_the_batch_is_a_warning(masked: Masked, said: str) -> None:
    (finding,) = zero_gradient(two_tasks(masked), TASKS, (X, Y, NONE))
    assert (finding.severity, finding.layer) == (Severity.WARNING, "b")
    assert said in finding.message
    assert finding.source is not None
    assert finding.source.file.endswith("test_cleared.py")


def test_one_with_labels_is_quiet() -> None:
    assert zero_gradient(two_tasks(times), TASKS, (X, Y, SOME)) == []


def never(errors: Any, mask: Any) -> Any:
    """The program itself writes the zeros: no batch changes it."""
    return jnp.sum(errors * jnp.zeros(N)) + mask.sum()


def of_the_network(errors: Any, mask: Any) -> Any:
    return jnp.sum(errors * jnp.where(errors > 1e9, 1.0, 0.0)) + mask.sum()


@pytest.mark.parametrize("masked", [never, of_the_network])
def test_zeros_that_are_not_of_the_batch_are_an_error(masked: Masked) -> None:
    (finding,) = zero_gradient(two_tasks(masked), TASKS, (X, Y, NONE))
    assert finding.severity is Severity.ERROR
    assert "array of the batch" not in finding.message


def test_a_mask_that_leaves_nothing_to_learn_is_an_error() -> None:
    def loss(p: Any, batch: Any) -> Any:
        x, y, mask = batch
        return times(((jnp.tanh(x @ p["body"]) @ p["a"] - y) ** 2).mean(1), mask)

    (finding,) = zero_gradient(loss, {"body": TASKS["body"], "a": TASKS["a"]}, (X, Y, NONE))
    assert finding.severity is Severity.ERROR


PARTS = {"in": {"even": normal(1, 5, 8), "odd": normal(2, 3, 8)}, "out": normal(4, 8, 2)}


def two_parts(p: Any, batch: Any) -> Any:
    x, odd, y = batch
    return jnp.mean((jnp.tanh(x @ p["in"]["even"] + odd @ p["in"]["odd"]) @ p["out"] - y) ** 2)


def columns(p: Any, batch: Any) -> Any:
    x, odd, y = batch
    whole = jnp.concatenate([x, odd], 1)
    return two_parts(p, (whole[:, :5], whole[:, 5:], y))


@pytest.mark.parametrize("loss", [two_parts, columns])
def test_a_part_of_the_input_that_no_example_has_is_a_warning(loss: Any) -> None:
    (finding,) = zero_gradient(loss, PARTS, (X, np.zeros((N, 3), np.float32), Y))
    assert (finding.severity, finding.parameter) == (Severity.WARNING, "in.odd")
    assert "its input is an array of the batch that is 0 everywhere" in finding.message


CELL = {"cell": {"x": normal(1, 5, 8), "h": normal(2, 8, 8)}, "out": normal(4, 8, 2)}
STEPS = normal(5, N, 4, 5)


def not_carried(p: Any, batch: Any) -> Any:
    xs, start, y = batch
    h = start
    for t in range(4):
        h = jnp.tanh(xs[:, t] @ p["cell"]["x"] + start @ p["cell"]["h"])
    return jnp.mean((h @ p["out"] - y) ** 2)


def not_carried_in_a_scan(p: Any, batch: Any) -> Any:
    xs, start, y = batch

    def step(h: Any, x: Any) -> Any:
        return jnp.tanh(x @ p["cell"]["x"] + start @ p["cell"]["h"]), None

    h, _ = jax.lax.scan(step, start, xs.swapaxes(0, 1))
    return jnp.mean((h @ p["out"] - y) ** 2)


@pytest.mark.parametrize("loss", [not_carried, not_carried_in_a_scan])
def test_a_state_that_is_never_carried_is_an_error(loss: Any) -> None:
    """Also where the zeros that it starts from come with the batch."""
    (finding,) = zero_gradient(loss, CELL, (STEPS, np.zeros((N, 8), np.float32), Y))
    assert (finding.severity, finding.parameter) == (Severity.ERROR, "cell.h")
