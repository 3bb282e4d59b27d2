"""Recurrent weights that see nothing but zeros, in loops of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.idle_recurrences import idle_recurrences
from gradscope.records import Idleness, IdleRecurrence
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer

B, T, F, D = 8, 6, 3, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype(np.float32)
Y = X.mean((1, 2))
PARAMS = {
    "cell": {
        "x": (RNG.normal(size=(F, D)) / 2).astype(np.float32),
        "h": (RNG.normal(size=(D, D)) / 2).astype(np.float32),
    },
    "head": (RNG.normal(size=D) / 2).astype(np.float32),
}
ZERO = np.zeros(D, np.float32)


def cell(p: Any, h: Any, x: Any) -> Any:
    return jnp.tanh(x @ p["x"] + h @ p["h"])


def carried(p: Any, xs: Any) -> Any:
    return lax.scan(lambda h, x: (cell(p, h, x), None), jnp.zeros(D), xs)[0]


def overwritten(p: Any, xs: Any) -> Any:
    start = jnp.zeros(D)
    return lax.scan(lambda _, x: (cell(p, start, x), None), start, xs)[0]


def kept(p: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        new = cell(p, h, x)
        return h, new

    return lax.scan(step, jnp.zeros(D), xs)[1][-1]


def read_at_all_steps(p: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        new = cell(p, h, x)
        return h, new

    return lax.scan(step, jnp.zeros(D), xs)[1].mean(0)


def closed_over(p: Any, xs: Any) -> Any:
    return lax.scan(lambda _, x: (cell(p, ZERO, x), None), ZERO, xs)[0]


def written_out(p: Any, xs: Any) -> Any:
    for t in range(T):
        h = cell(p, jnp.zeros(D), xs[t])
    return h


def one_of_two(p: Any, xs: Any) -> Any:
    """The cell state is carried, and the output is not."""

    def step(state: Any, x: Any) -> Any:
        _, c = state
        c = 0.5 * c + cell(p, jnp.zeros(D), x)
        return (jnp.tanh(c), c), None

    return lax.scan(step, (jnp.zeros(D), jnp.zeros(D)), xs)[0][0]


def in_one_product(p: Any, xs: Any) -> Any:
    """As Haiku multiplies the input and the state."""
    weight = jnp.concatenate([p["x"], p["h"]])

    def step(h: Any, x: Any) -> Any:
        del h
        return jnp.tanh(jnp.concatenate([x, jnp.zeros(D)], axis=-1) @ weight), None

    return lax.scan(step, jnp.zeros(D), xs)[0]


SICK: dict[str, tuple[Callable[..., Any], Idleness]] = {
    "overwritten": (overwritten, Idleness.OVERWRITTEN),
    "kept": (kept, Idleness.APART),
    "read at all steps": (read_at_all_steps, Idleness.APART),
    "closed over": (closed_over, Idleness.OVERWRITTEN),
    "written out": (written_out, Idleness.WRITTEN_OUT),
    "one of two states": (one_of_two, Idleness.OVERWRITTEN),
    "jit": (jax.jit(overwritten), Idleness.OVERWRITTEN),
    "remat": (jax.checkpoint(kept), Idleness.APART),
    "one product": (in_one_product, Idleness.OVERWRITTEN),
}


def loss_of(run: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def loss(p: Any, batch: Any) -> Any:
        x, y = batch
        return jnp.mean((jax.vmap(lambda xs: run(p["cell"], xs))(x) @ p["head"] - y) ** 2)

    return loss


def found(loss: Any, silent: bool = True) -> list[IdleRecurrence]:
    return list(idle_recurrences(Tracer(Problem(loss, PARAMS, (X, Y))).trace((X, Y)), (X, Y), silent))


def of_loops(loss: Any) -> list[IdleRecurrence]:
    return [each for each in found(loss) if each.kind is not Idleness.ONCE]


@pytest.mark.parametrize("name", SICK)
def test_a_state_that_is_not_carried_is_told_with_its_weights(name: str) -> None:
    run, kind = SICK[name]
    loss = loss_of(run)
    (idle,) = found(loss)
    assert (idle.kind, idle.steps, idle.part) == (kind, T, name == "one product")
    assert "cell.h" in idle.parameters
    assert not np.any(jax.grad(loss)(PARAMS, (X, Y))["cell"]["h"]), "what the record says"


def one_step(p: Any, xs: Any) -> Any:
    return cell(p, jnp.zeros(D), xs[0])


def a_loop_of_one(p: Any, xs: Any) -> Any:
    return overwritten(p, xs[:1])


def carried_once(p: Any, xs: Any) -> Any:
    return carried(p, xs[:1])


def two_encoders(p: Any, xs: Any) -> Any:
    return cell(p, jnp.zeros(D), xs[0]) * cell(p, jnp.zeros(D), xs[1])


def summed_up(p: Any, xs: Any) -> Any:
    return lax.scan(lambda s, x: (s + cell(p, jnp.zeros(D), x), None), jnp.zeros(D), xs)[0]


def layers(p: Any, xs: Any) -> Any:
    """Each step has weights of its own."""
    stacked = jax.tree.map(lambda w: jnp.stack([w] * T), p)
    return lax.scan(lambda _, row: (cell(row, jnp.zeros(D), xs[0]), None), jnp.zeros(D), stacked)[0]


def warmed_up(p: Any, xs: Any) -> Any:
    """A step from zeros before those that carry the state."""
    h = cell(p, jnp.zeros(D), xs[0])
    return lax.scan(lambda h, x: (cell(p, h, x), None), h, xs[1:])[0]


def filled_features(p: Any, xs: Any) -> Any:
    weight = jnp.concatenate([p["x"], p["h"]])
    wide = lambda x: jnp.tanh(jnp.concatenate([x, jnp.zeros(D)], axis=-1) @ weight)  # noqa: E731
    return lax.scan(lambda _, x: (None, wide(x)), None, xs)[1].mean(0)


HEALTHY = [filled_features, carried, one_step, a_loop_of_one, two_encoders, summed_up, layers, warmed_up]


@pytest.mark.parametrize("run", HEALTHY)
def test_a_state_that_is_carried_and_cells_of_one_step_are_quiet(run: Any) -> None:
    assert of_loops(loss_of(run)) == []


def test_cells_of_one_step_for_one_example_after_the_other_are_quiet() -> None:
    def loss(p: Any, batch: Any) -> Any:
        x, y = batch
        h = lax.map(lambda row: cell(p["cell"], jnp.zeros(D), row[0]), x)
        return jnp.mean((h @ p["head"] - y) ** 2)

    assert of_loops(loss) == []


def test_a_loop_of_python_is_looked_at_only_where_weights_have_no_gradient() -> None:
    assert found(loss_of(written_out), silent=False) == []


@pytest.mark.parametrize("run", [one_step, carried_once, two_encoders])
def test_a_cell_of_one_step_has_a_warning_that_says_so(run: Any) -> None:
    (once,) = found(loss_of(run))
    assert (once.kind, once.parameters) == (Idleness.ONCE, ("cell.h",))
    report = check_loss(loss_of(run), PARAMS, (X, Y), optimizer=optax.adam(1e-2))
    (finding,) = [each for each in report.findings if each.severity.value != "note"]
    assert (finding.rule, finding.severity.value) == ("zero-gradient", "warning")
    assert "its input is a constant 0 in the program" in finding.message


def test_it_is_the_cause_of_the_zero_gradient() -> None:
    report = check_loss(loss_of(overwritten), PARAMS, (X, Y), optimizer=optax.adam(1e-2))
    assert not [each for each in report.skipped if "itself" in each.reason]
    (finding,) = [each for each in report.findings if each.severity.value != "note"]
    assert (finding.rule, finding.layer) == ("state-not-carried", "cell.h")
    assert finding.message.startswith("The state is not carried from step to step: what `cell.h` multiplies")
    assert "zero-gradient" in str(finding.evidence["silenced"])
