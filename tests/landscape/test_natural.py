"""The Gauss-Newton matrix and the step of the natural gradient, against dense matrices and closed forms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from gradscope.blocks.block import blocks_of
from gradscope.blocks.repeats import Sizes
from gradscope.landscape import natural, products
from gradscope.landscape.pace import Pace
from gradscope.landscape.products import Products
from gradscope.landscape.ways import BlockProducts
from gradscope.load.problem import Problem
from gradscope.records import GaussNewton
from gradscope.trace.program import Tracer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)) * [1.0, 3.0, 0.3, 10.0]
Y = RNG.normal(size=(32, 1))
LABELS = RNG.integers(0, 3, 32)
LINE = {"b": np.zeros(1), "w": np.ones((4, 1))}
CLASSES = {"w": 0.1 * RNG.normal(size=(4, 3))}
NET = {"a": RNG.normal(size=(4, 5)) / 4, "b": RNG.normal(size=(5, 3)) / 2}


def squares(p: Any, batch: Any) -> Any:
    return jnp.mean((batch[0] @ p["w"] + p["b"] - batch[1]) ** 2)


def cross_entropy(logits: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def classes(p: Any, batch: Any) -> Any:
    return cross_entropy(batch[0] @ p["w"], batch[1])


def outputs_of_net(p: Any, x: Any) -> Any:
    return jnp.tanh(x @ p["a"]) @ p["b"]


def net(p: Any, batch: Any) -> Any:
    return cross_entropy(outputs_of_net(p, batch[0]), batch[1])


@pytest.fixture(autouse=True)
def in_float64() -> Any:
    with jax.enable_x64(True):
        yield


def products_of(loss: Any, params: Any, *batches: Any) -> Products:
    problem = Problem(loss, params, batches[0])
    tracer = Tracer(problem)
    program = tracer.trace(batches[0])
    inputs = [tracer.inputs(batch) for batch in batches]
    return Products(program, inputs[0].weights, [each.others for each in inputs], range(len(program.leaves)))


def outputs_in(at: Products) -> natural.NetworkOutputs:
    found = natural.outputs_of(at, np.random.default_rng(1))
    assert isinstance(found, natural.NetworkOutputs)
    return found


def reason(loss: Any, params: Any, batch: Any) -> str:
    found = natural.outputs_of(products_of(loss, params, batch), np.random.default_rng(1))
    assert isinstance(found, str)
    return found


def matrix(at: Products) -> Any:
    outputs = outputs_in(at)
    unit = jnp.eye(at.size)
    return np.stack([np.asarray(at.gauss_newton(outputs.split, each)) for each in unit])


def dense(outputs: Any, loss: Any, params: Any) -> Any:
    """JᵀHJ, each factor as a whole."""
    flat, back = ravel_pytree(jax.tree.map(jnp.asarray, params))

    def run(w: Any) -> Any:
        return jnp.ravel(outputs(back(w)))

    jacobian, bent = jax.jacobian(run)(flat), jax.hessian(loss)(run(flat))
    return np.asarray(jacobian.T @ bent @ jacobian)


def step_of(at: Products) -> GaussNewton:
    found = natural.gauss_newton(at, outputs_in(at), Pace(1e3, lambda: 1e-9), 80, None)
    assert found is not None
    return found


def test_of_a_linear_model_it_is_the_hessian_and_one_step_is_at_the_minimum() -> None:
    at = products_of(squares, LINE, (X, Y))
    design = np.concatenate([np.ones((32, 1)), X], 1)
    np.testing.assert_allclose(matrix(at), 2 * design.T @ design / 32, rtol=1e-9, atol=1e-12)
    least = np.linalg.lstsq(design, Y, rcond=None)[1][0] / 32
    found = step_of(at)
    assert at.loss + found.change == pytest.approx(least, rel=1e-9)
    assert found.damping == 0
    assert found.products == 5
    assert found.gradient_change > found.change
    assert found.largest.value == pytest.approx(np.linalg.eigvalsh(2 * design.T @ design / 32)[-1])


def test_of_softmax_cross_entropy_it_is_the_fisher_matrix() -> None:
    at = products_of(classes, CLASSES, (X, LABELS))
    probabilities = np.asarray(jax.nn.softmax(X @ CLASSES["w"]))
    fisher = np.zeros((12, 12))
    for x, shares in zip(X, probabilities, strict=True):
        for label, share in enumerate(shares):
            score = np.outer(x, np.eye(3)[label] - shares).ravel()
            fisher += share * np.outer(score, score) / 32
    np.testing.assert_allclose(matrix(at), fisher, rtol=1e-9, atol=1e-12)


def test_of_a_network_it_is_the_product_of_dense_matrices() -> None:
    at = products_of(net, NET, (X, LABELS))
    expected = dense(lambda p: outputs_of_net(p, X), lambda z: cross_entropy(z.reshape(32, 3), LABELS), NET)
    np.testing.assert_allclose(matrix(at), expected, rtol=1e-8, atol=1e-12)
    found = step_of(at)
    assert found.outputs == 96
    assert found.largest.value == pytest.approx(np.linalg.eigvalsh(expected)[-1], rel=1e-6)
    gradient = np.asarray(at.gradient)
    step = np.linalg.solve(expected + found.damping * np.eye(len(gradient)), gradient)
    flat, back = ravel_pytree(NET)
    changed = float(net(back(flat - step), (X, LABELS))) - at.loss
    assert found.change == pytest.approx(changed, rel=0.02)
    rate = found.gradient_rate
    along = float(net(back(flat - rate * gradient), (X, LABELS))) - at.loss
    assert found.gradient_change == pytest.approx(along, rel=1e-9)
    fine = [
        float(net(back(flat - rate * by * gradient), (X, LABELS))) for by in np.geomspace(1 / 64, 64, 300)
    ]
    assert at.loss + along == pytest.approx(min(fine), rel=1e-3)


def test_several_batches_are_their_mean() -> None:
    batches = (X[:16], Y[:16]), (X[16:], Y[16:])
    both = matrix(products_of(squares, LINE, *batches))
    np.testing.assert_allclose(both, matrix(products_of(squares, LINE, (X, Y))), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("first", [True, False])
def test_a_penalty_is_bent_as_it_is_wherever_it_stands(first: bool) -> None:
    def loss(p: Any, batch: Any) -> Any:
        if first:
            penalty = 0.5 * jnp.sum(p["w"] ** 2)
            return penalty + squares(p, batch)
        return squares(p, batch) + 0.5 * jnp.sum(p["w"] ** 2)

    found = matrix(products_of(loss, LINE, (X, Y))) - matrix(products_of(squares, LINE, (X, Y)))
    np.testing.assert_allclose(found, np.diag([0.0, 1, 1, 1, 1]), atol=1e-9)


def test_where_the_loss_bends_down_in_what_a_sigmoid_takes_its_result_is_the_output() -> None:
    targets = jnp.asarray(Y > 0, float)

    def loss(p: Any, batch: Any) -> Any:
        return jnp.mean((jax.nn.sigmoid(batch[0] @ p["w"] + p["b"]) - targets) ** 2)

    at = products_of(loss, LINE, (X, Y))
    expected = dense(
        lambda p: jax.nn.sigmoid(X @ p["w"] + p["b"]), lambda z: jnp.mean((z[:, None] - targets) ** 2), LINE
    )
    np.testing.assert_allclose(matrix(at), expected, rtol=1e-8, atol=1e-12)
    assert outputs_in(at).low >= 0


def test_a_loss_under_jit_is_looked_into() -> None:
    def loss(p: Any, batch: Any) -> Any:
        return net(jax.tree.map(lambda leaf: 1.0 * leaf, p), batch)

    inside = matrix(products_of(jax.jit(loss), NET, (X, LABELS)))
    np.testing.assert_allclose(inside, matrix(products_of(net, NET, (X, LABELS))), rtol=1e-9, atol=1e-12)


DEEP = [{"w": np.eye(4) + 0.3 * RNG.normal(size=(4, 4))} for _ in range(6)] + [{"w": RNG.normal(size=(4, 3))}]


def deep(p: Any, batch: Any) -> Any:
    h = batch[0] / 10
    for layer in p[:-1]:
        h = jnp.tanh(h @ layer["w"]) + 0.1 * h
    return cross_entropy(h @ p[-1]["w"], batch[1]) + 0.01 * jnp.sum(p[0]["w"] ** 2)


def test_in_blocks_all_products_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = products_of(deep, DEEP, (X[:16], LABELS[:16]), (X[16:], LABELS[16:]))
    cut: list[int] = []

    def in_pieces(body: Any, plan: Any, arguments: Any, behind: Any) -> Any:
        blocks = blocks_of(body, plan, Sizes(shortest=3, longest=6, least_saved=2), behind)
        cut.append(len(blocks))
        return blocks

    monkeypatch.setattr(products, "blocks_where_it_pays", in_pieces)
    parts = products_of(deep, DEEP, (X[:16], LABELS[:16]), (X[16:], LABELS[16:]))
    assert cut[0] > 8
    assert isinstance(parts._way, BlockProducts)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)
    along = whole.normal(np.random.default_rng(3))
    np.testing.assert_allclose(parts.gradient, whole.gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts(along), whole(along), rtol=1e-8, atol=1e-10)
    assert parts.loss_at(along, 0.1) == pytest.approx(whole.loss_at(along, 0.1), rel=1e-9)
    one, other = outputs_in(parts), outputs_in(whole)
    assert one.split.index == other.split.index
    assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-6, abs=1e-9)
    product = parts.gauss_newton(one.split, along)
    np.testing.assert_allclose(product, whole.gauss_newton(other.split, along), rtol=1e-8, atol=1e-10)


def test_a_likelihood_with_its_own_variance_has_no_such_matrix() -> None:
    def loss(p: Any, batch: Any) -> Any:
        out = batch[0] @ p["w"]
        mean, log = out[:, 0], out[:, 1]
        return jnp.mean((mean - batch[1][:, 0]) ** 2 * jnp.exp(-log) + log)

    assert "bends down in the outputs" in reason(loss, {"w": RNG.normal(size=(4, 2)) / 9}, (X, Y))


def test_a_loss_that_a_loop_adds_up_is_told_as_such() -> None:
    def loss(p: Any, batch: Any) -> Any:
        def step(total: Any, row: Any) -> Any:
            return total + jnp.sum((row[0] @ p["w"] - row[1]) ** 2), None

        return jax.lax.scan(step, 0.0, batch)[0]

    assert "outside of a loop" in reason(loss, LINE, (X, Y))


def test_a_linear_loss_has_no_such_matrix() -> None:
    assert "is linear" in reason(lambda p, b: jnp.sum(b[0] @ p["w"]), {"w": LINE["w"]}, (X, Y))


def test_the_best_step_along_the_gradient_comes_from_any_first_rate() -> None:
    at = products_of(squares, LINE, (X, Y))
    gradient = np.asarray(at.gradient)
    exact = gradient @ gradient / (gradient @ np.asarray(at(at.gradient)))
    for first in (1e-3 * exact, exact, 1e3 * exact):
        loss, rate = natural.best_along_gradient(at, first, 30)
        assert rate == pytest.approx(exact, rel=0.05)
        assert loss < at.loss
