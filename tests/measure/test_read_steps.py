"""A loop over time of which the loss reads the first step alone: what is said of its recurrent weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen
from jax import lax

from gradscope.records import Finding
from gradscope.runs.check import check_loss

B, T, F, D = 16, 6, 3, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype(np.float32)
Y = X.mean((1, 2))
ZERO = np.zeros((B, D), np.float32)


def cell(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (F, D), "h": (D, D)}
    return {name: (rng.normal(size=shape) / 2).astype(np.float32) for name, shape in shapes.items()}


PARAMS = {"forward": cell(1), "backward": cell(2), "head": (RNG.normal(size=2 * D) / 4).astype(np.float32)}


def run(p: Any, xs: Any, reverse: bool = False, start: Any = ZERO) -> Any:
    """f32[T, B, D]: time first."""

    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(x @ p["x"] + h @ p["h"])
        return h, h

    return lax.scan(step, start, jnp.swapaxes(xs, 0, 1), reverse=reverse)[1]


def turned(p: Any, xs: Any) -> Any:
    return jnp.flip(run(p, jnp.flip(xs, 1)), 0)


def both(p: Any, xs: Any, backward: Callable[..., Any]) -> Any:
    return jnp.concatenate([run(p["forward"], xs), backward(p["backward"], xs)], -1)


def alone(p: Any, xs: Any) -> Any:
    hs = run(p["forward"], xs)
    return jnp.concatenate([hs, hs], -1)


def by_scan(p: Any, xs: Any) -> Any:
    return run(p, xs, reverse=True)


def attended(hs: Any) -> Any:
    return jnp.sum(jax.nn.softmax(hs.sum(-1, keepdims=True), 0) * hs, 0)


def found(read: Callable[[Any, Any], Any], x: Any = X) -> list[Finding]:
    def loss(p: Any, batch: Any) -> Any:
        return jnp.mean((read(p, batch["x"]) @ p["head"] - batch["y"]) ** 2)

    report = check_loss(loss, PARAMS, {"x": x, "y": Y}, optimizer=optax.adam(1e-2))
    return [each for each in report.findings if each.rule == "zero-gradient"]


@pytest.mark.parametrize(
    ("read", "weight", "backward"),
    [
        (lambda p, x: alone(p, x)[0], "forward.h", False),
        (lambda p, x: jnp.swapaxes(alone(p, x), 0, 1)[:, 0], "forward.h", False),
        (lambda p, x: jax.nn.relu(alone(p, x))[0], "forward.h", False),
        (lambda p, x: both(p, x, by_scan)[-1], "backward.h", True),
        (lambda p, x: both(p, x, turned)[-1], "backward.h", True),
        (lambda p, x: jnp.swapaxes(both(p, x, turned), 0, 1)[:, -1], "backward.h", True),
    ],
    ids=["first", "batch first", "behind an activation", "reversed scan", "turned", "turned, batch first"],
)
def test_the_first_step_of_a_loop_is_named(
    read: Callable[[Any, Any], Any], weight: str, backward: bool
) -> None:
    (finding,) = (each for each in found(read) if weight in each.message)
    assert finding.severity.value == "error"
    assert f"It is used in a loop of {T} steps" in finding.message
    assert "A single step of its outputs is taken at" in finding.message
    assert ("runs from the end of the sequence" in finding.message) is backward
    assert ("backward[:, 0]" in finding.remedy) is backward


@pytest.mark.parametrize(
    "read",
    [
        lambda p, x: both(p, x, by_scan)[0] + both(p, x, by_scan)[-1],
        lambda p, x: jnp.concatenate([run(p["forward"], x)[-1], by_scan(p["backward"], x)[0]], -1),
        lambda p, x: both(p, x, turned).mean(0),
        lambda p, x: attended(both(p, x, by_scan)),
    ],
    ids=["first and last", "both ends", "mean", "attention"],
)
def test_a_network_that_reads_what_has_seen_the_sequence_is_quiet(read: Callable[[Any, Any], Any]) -> None:
    assert found(read) == []


def test_a_mask_that_keeps_the_first_step_has_no_line_that_takes_it() -> None:
    mask = (np.arange(T) == 0)[:, None, None]
    (finding,) = (f for f in found(lambda p, x: (alone(p, x) * mask).sum(0)) if "forward.h" in f.message)
    assert "A single step" not in finding.message
    assert "a mask of lengths" in finding.remedy


def test_a_cell_of_one_step_is_told_so() -> None:
    (finding,) = (f for f in found(lambda p, x: alone(p, x)[0], X[:, :1]) if "forward.h" in f.message)
    assert "It is used in a loop" not in finding.message


def test_an_lstm_of_flax_is_one_finding() -> None:
    class Network(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            return linen.Dense(1)(linen.RNN(linen.LSTMCell(D))(x)[:, 0])[:, 0]

    net = Network()
    report = check_loss(
        lambda p, b: jnp.mean((net.apply(p, b[0]) - b[1]) ** 2),
        net.init(jax.random.key(0), X),
        (X, Y),
        optimizer=optax.adam(1e-2),
    )
    (finding,) = (each for each in report.findings if each.rule == "zero-gradient")
    assert "and 2 more is exactly zero" in finding.message


def test_a_gru_of_equinox_is_one_finding() -> None:
    class Network(eqx.Module):
        cell: eqx.nn.GRUCell
        out: Any

        def __call__(self, x: Any) -> Any:
            def step(h: Any, each: Any) -> Any:
                h = self.cell(each, h)
                return h, h

            return lax.scan(step, jnp.zeros(D), x)[1][0] @ self.out

    net = Network(eqx.nn.GRUCell(F, D, key=jax.random.key(0)), jnp.ones(D) / D)
    report = check_loss(
        lambda m, b: jnp.mean((jax.vmap(m)(b[0]) - b[1]) ** 2), net, (X, Y), optimizer=optax.adam(1e-2)
    )
    (finding,) = (each for each in report.findings if each.rule == "zero-gradient")
    assert "`cell.weight_hh`" in finding.message
    assert "A single step of its outputs is taken at" in finding.message
