"""Which cut keeps a leaf's gradient away, and straight-through estimators in their several spellings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import Array, lax

from gradscope.load.problem import Problem
from gradscope.records import Connection, Cut
from gradscope.trace.program import Program, Tracer

keys = jax.random.split(jax.random.key(0), 4)
params = {
    "book": jax.random.normal(keys[0], (5, 3)),
    "decoder": jax.random.normal(keys[1], (3, 4)),
    "encoder": jax.random.normal(keys[2], (4, 3)),
}
batch = jax.random.normal(keys[3], (6, 4))
Estimator = Callable[[Array, Array], Array]


def traced(loss: Callable[[Any, Array], Any]) -> Program:
    return Tracer(Problem(loss, params, batch)).trace(batch)


def looked_up(p: Any, z: Array) -> Array:
    distances = ((z[:, None] - p["book"][None]) ** 2).sum(-1)
    return p["book"][jnp.argmin(distances, axis=1)]


def autoencoder(estimator: Estimator, pull: Callable[[Array, Array, Array], Array]) -> Any:
    """`pull` is given the encoder's output, the code, and the code after the estimator."""

    def loss(p: Any, x: Array) -> Array:
        z = jnp.tanh(x @ p["encoder"])
        code = looked_up(p, z)
        through = estimator(z, code)
        commitment = jnp.mean((z - lax.stop_gradient(code)) ** 2)
        return jnp.mean((through @ p["decoder"] - x) ** 2) + commitment + pull(z, code, through)

    return loss


ESTIMATORS: list[Estimator] = [
    lambda z, code: z + lax.stop_gradient(code - z),
    lambda z, code: lax.stop_gradient(code - z) + z,
    lambda z, code: z - lax.stop_gradient(z - code),
    lambda z, code: z + lax.stop_gradient(code) - lax.stop_gradient(z),
    lambda z, code: lax.stop_gradient(code) + (z - lax.stop_gradient(z)),
    lambda z, code: (z.ravel() + lax.stop_gradient(code.ravel() - z.ravel())).reshape(z.shape),
    jax.jit(lambda z, code: z + lax.stop_gradient(code - z)),
]


def of_book(program: Program) -> tuple[Cut, ...]:
    assert program.connections[0] is Connection.BLOCKED
    return program.cuts[0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_codebook_without_a_loss_of_its_own_is_cut_by_the_estimator_alone(estimator: Estimator) -> None:
    program = traced(autoencoder(estimator, lambda z, code, through: jnp.zeros(())))
    found = of_book(program)
    assert {(cut.op, cut.compared) for cut in found} == {("stop_gradient", None)}
    assert {cut.straight_through for cut in found} == {True, False}  # that of the commitment would do it too


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "pull",
    [
        lambda z, code, through: jnp.mean((through - lax.stop_gradient(z)) ** 2),
        lambda z, code, through: jnp.mean((lax.stop_gradient(z) - through) ** 2),
        lambda z, code, through: jnp.mean((through - z) ** 2),
        lambda z, code, through: jnp.mean((through.ravel() - lax.stop_gradient(z).ravel()) ** 2),
    ],
    ids=["result - stopped", "stopped - result", "result - input", "flat"],
)
def test_a_codebook_loss_after_the_estimator_is_found_at_its_line(estimator: Estimator, pull: Any) -> None:
    found = [cut for cut in of_book(traced(autoencoder(estimator, pull))) if cut.straight_through]
    lines = [cut.compared.text for cut in found if cut.compared is not None]
    assert len(lines) == len(found) > 0
    assert all("through" in line for line in lines)


def test_a_codebook_loss_before_the_estimator_connects_the_codebook() -> None:
    program = traced(
        autoencoder(ESTIMATORS[0], lambda z, code, through: jnp.mean((code - lax.stop_gradient(z)) ** 2))
    )
    assert set(program.connections) == {Connection.CONNECTED}


def test_a_difference_that_only_the_auxiliary_output_has_is_no_loss() -> None:
    def loss(p: Any, x: Array) -> Any:
        z = x @ p["encoder"]
        through = z + lax.stop_gradient(looked_up(p, z) - z)
        return jnp.mean((through @ p["decoder"] - x) ** 2), jnp.mean((through - z) ** 2)

    assert {cut.compared for cut in of_book(traced(loss))} == {None}


def test_where_no_cut_alone_reconnects_all_are_told() -> None:
    def loss(p: Any, x: Array) -> Array:
        hard = jnp.round(lax.stop_gradient(x @ p["encoder"]))
        other = jnp.argmax(x @ p["encoder"], -1)
        return jnp.mean((hard @ p["decoder"] - x) ** 2) + jnp.sum(p["book"][other] ** 2)

    program = traced(loss)
    assert {cut.op for cut in program.cuts[2]} == {"stop_gradient", "argmax"}


def test_a_cut_inside_a_loop() -> None:
    def loss(p: Any, x: Array) -> Array:
        def step(h: Array, row: Array) -> tuple[Array, None]:
            return h + lax.stop_gradient(jnp.tanh(row @ p["encoder"])), None

        h, _ = lax.scan(step, jnp.zeros(3), x)
        return jnp.sum(h @ p["decoder"]) + jnp.sum(p["book"])

    (cut,) = traced(loss).cuts[2]
    assert (cut.op, cut.straight_through) == ("stop_gradient", False)
