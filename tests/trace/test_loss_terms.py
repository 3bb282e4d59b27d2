"""The terms of a loss: where it is split, and what gradient comes back from each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from jax import Array, lax

from gradscope.load.problem import Problem
from gradscope.records import Connection, LossTerm
from gradscope.trace.loss_terms import loss_terms
from gradscope.trace.program import Tracer

ALIVE, CUT, CONSTANT = Connection.CONNECTED, Connection.BLOCKED, Connection.DISCONNECTED
Params = dict[str, Array]
keys = jax.random.split(jax.random.key(0), 4)
params = {
    "a": jax.random.normal(keys[0], (2, 3)),
    "b": jax.random.normal(keys[1], (3, 3)),
    "c": jax.random.normal(keys[2], (3, 1)),
}
points = jax.random.normal(keys[3], (5, 2))


def net(p: Params, x: Array, act: Callable[[Array], Array] = jax.nn.relu) -> Array:
    return (act(act(x @ p["a"]) @ p["b"]) @ p["c"])[0]


def edge(p: Params, x: Array) -> Array:
    return jnp.mean(jax.vmap(net, (None, 0))(p, x) ** 2)


def laplacian(u: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda z: jnp.trace(jax.hessian(u)(z))


def terms(loss: Callable[[Params, Array], Any]) -> tuple[LossTerm, ...]:
    return loss_terms(Tracer(Problem(loss, params, points)).trace(points))


def connections(loss: Callable[[Params, Array], Any]) -> list[Connection]:
    return [term.connection for term in terms(loss)]


def equation(act: Callable[[Array], Array]) -> Callable[[Params, Array], Array]:
    def loss(p: Params, x: Array) -> Array:
        residual = jax.vmap(laplacian(partial(net, p, act=act)))(x) - 1
        return jnp.mean(residual**2) + edge(p, x)

    return loss


def forward_over_forward(p: Params, x: Array) -> Array:
    def along(z: Array, v: Array) -> Array:
        return jax.jvp(lambda y: jax.jvp(partial(net, p), (y,), (v,))[1], (z,), (v,))[1]

    return jnp.mean(jax.vmap(lambda z: sum(along(z, v) for v in jnp.eye(2)))(x) ** 2) + edge(p, x)


def jitted_network(p: Params, x: Array) -> Array:
    u = jax.jit(partial(net, p))
    return jnp.mean(jax.vmap(laplacian(u))(x) ** 2) + edge(p, x)


def checkpointed_network(p: Params, x: Array) -> Array:
    u = jax.checkpoint(partial(net, p))
    return jnp.mean(jax.vmap(laplacian(u))(x) ** 2) + edge(p, x)


def at_single_points(p: Params, x: Array) -> Array:
    def u(t: Array) -> Array:
        return net(p, jnp.stack([t, t]))

    return sum((jax.grad(jax.grad(u))(x[i, 0]) - x[i, 1]) ** 2 for i in range(3)) / 3 + edge(p, x)


def per_example(p: Params, x: Array) -> Array:
    def one(z: Array) -> Array:
        residual = laplacian(partial(net, p))(z) - 1
        return residual**2 + net(p, z) ** 2

    return jnp.mean(jax.vmap(one)(x))


def stacked_layers(p: Params, x: Array) -> Array:
    def u(z: Array) -> Array:
        h, _ = lax.scan(lambda h, w: (jax.nn.relu(h @ w), None), z @ p["a"], jnp.stack([p["b"]] * 2))
        return (h @ p["c"])[0]

    return jnp.mean(jax.vmap(laplacian(u))(x) ** 2) + edge(p, x)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (equation(jax.nn.relu), "relu"),
        (equation(jax.nn.leaky_relu), "leaky_relu"),
        (equation(lambda x: jnp.maximum(x, 0)), "relu"),
        (equation(jnp.abs), "abs"),
        (equation(lambda x: jnp.where(x > 0, x, 0.1 * x)), "where"),
        (jax.jit(equation(jax.nn.relu)), "relu"),
        (forward_over_forward, "relu"),
        (jitted_network, "relu"),
        (checkpointed_network, "relu"),
        (at_single_points, "relu"),
        (per_example, "relu"),
        (stacked_layers, "relu"),
    ],
)
def test_the_second_derivative_of_a_network_of_straight_pieces_is_zero(loss: Any, name: str) -> None:
    found = terms(loss)
    assert [term.connection for term in found] == [CONSTANT, ALIVE]
    zero = found[0].derivative
    assert zero is not None
    assert zero.repeated
    assert (zero.straight, zero.curved) == ((name,), ())
    assert set(found[0].parameters) == set(params)
    assert found[1].derivative is None


@pytest.mark.parametrize("hessian", [jax.hessian, lambda u: jax.jacfwd(jax.jacfwd(u))])
def test_a_function_that_does_not_depend_on_its_argument_is_not_blamed_on_its_relus(hessian: Any) -> None:
    def loss(p: Params, x: Array) -> Array:
        bent = jax.vmap(hessian(lambda z: net(p, jnp.ones(2))))(x)
        return edge(p, x) + jnp.mean((bent - 1) ** 2)

    zero = terms(loss)[1].derivative
    assert zero is not None
    assert not zero.repeated


@pytest.mark.parametrize("act", [jnp.tanh, jax.nn.softplus, jax.nn.swish, lambda x: jax.nn.relu(x) ** 3])
def test_that_of_a_smooth_one_is_not(act: Any) -> None:
    assert [(term.connection, term.derivative) for term in terms(equation(act))] == [
        (ALIVE, None),
        (ALIVE, None),
    ]


def probability(p: Params, x: Array) -> Array:
    return jax.nn.log_softmax(jax.nn.relu(x @ p["a"]) @ p["b"])[:, 0]


def ratio(new: Array, old: Array) -> Array:
    return jnp.exp(new - old)


def quotient(new: Array, old: Array) -> Array:
    return jnp.exp(new) / jnp.exp(old)


@pytest.mark.parametrize("log_prob", [probability, jax.jit(probability)])
@pytest.mark.parametrize(("of", "op"), [(ratio, "sub"), (quotient, "div")])
def test_a_value_minus_itself_computed_twice_is_constant(log_prob: Any, of: Any, op: str) -> None:
    def loss(p: Params, x: Array) -> Array:
        old = log_prob(p, x)
        new = log_prob(p, x)
        gain = jnp.mean(jnp.clip(of(new, old), 0.8, 1.2) * x[:, 0])
        return edge(p, x) - 2.0 * gain

    found = terms(loss)[-1]
    assert found.connection is CONSTANT
    assert found.cancellation is not None
    assert found.cancellation.op == op
    assert found.parameters == ("a", "b")
    assert found.source is not None
    assert found.source.text.startswith("gain = ")


@pytest.mark.parametrize(
    "old",
    [
        lambda p, x: lax.stop_gradient(probability(p, x)),
        lambda p, x: probability(lax.stop_gradient(p), x),
        lambda p, x: probability(p, x + 1e-6),
        lambda p, x: probability({**p, "b": p["b"].T}, x),
        lambda p, x: jnp.mean(probability(p, x)),
    ],
    ids=["stopped value", "stopped parameters", "other input", "other weights", "its mean"],
)
def test_a_value_minus_another_is_not(old: Any) -> None:
    found = terms(lambda p, x: edge(p, x) - jnp.mean(ratio(probability(p, x), old(p, x))))
    assert [(term.connection, term.cancellation) for term in found] == [(ALIVE, None), (ALIVE, None)]


def test_what_a_library_subtracts_from_itself_is_not_the_users_doing() -> None:
    found = terms(lambda p, x: edge(p, x) + jnp.mean(jnp.logaddexp(x @ p["a"], x @ p["a"])))
    assert [term.cancellation for term in found] == [None, None]


def test_two_draws_of_a_dropout_are_no_cancellation() -> None:
    def loss(p: Params, x: Array) -> Array:
        one, two = (
            jnp.where(jax.random.bernoulli(key, 0.5, (5, 3)), x @ p["a"], 0.0)
            for key in jax.random.split(jax.random.key(2))
        )
        return jnp.mean((one - two) ** 2) + edge(p, x)

    assert [term.cancellation for term in terms(loss)] == [None, None]


def test_dead_terms_are_told_apart_also_where_they_are_added_first() -> None:
    def loss(p: Params, x: Array) -> Array:
        left = jnp.mean(jax.vmap(laplacian(partial(net, p)))(x) ** 2)
        right = jnp.mean((jax.vmap(laplacian(partial(net, p)))(2 * x) - 1) ** 2)
        return edge(p, x) + 0.5 * (left + right)

    assert [term.source.text.split()[0] for term in terms(loss) if term.source][1:] == ["left", "right"]


def test_a_zero_derivative_is_seen_in_a_term_that_has_a_gradient_otherwise() -> None:
    def heat(act: Callable[[Array], Array], p: Params, x: Array) -> Array:
        def u(t: Array, s: Array) -> Array:
            return net(p, jnp.stack([t, s]), act)

        u_t = jax.vmap(jax.grad(u, 0))(x[:, 0], x[:, 1])
        u_ss = jax.vmap(jax.grad(jax.grad(u, 1), 1))(x[:, 0], x[:, 1])
        return jnp.mean((u_t - u_ss) ** 2)

    (term,) = terms(partial(heat, jax.nn.relu))
    assert term.connection is ALIVE
    assert term.derivative is not None
    assert term.derivative.source is not None
    assert term.derivative.source.text.startswith("u_ss = ")
    (term,) = terms(partial(heat, jnp.tanh))
    assert term.derivative is None


@pytest.mark.parametrize("beside", [0.0, 1.0])
def test_a_derivative_of_outputs_by_themselves_is_a_number(beside: float) -> None:
    """The equation dy/dx = -y, with the derivative taken of y by y."""

    def loss(p: Params, x: Array) -> Array:
        y = jax.vmap(partial(net, p))(x)
        slope = jax.grad(lambda out: jnp.sum(out))(y)
        return edge(p, x) + jnp.mean((slope + beside * y) ** 2)

    found = terms(loss)[1]
    assert found.connection is ALIVE if beside else CONSTANT
    assert found.derivative is not None
    assert found.derivative.value == 1
    assert found.derivative.source is not None
    assert found.derivative.source.text.startswith("slope = ")


def test_a_derivative_by_the_data_and_one_of_a_weighted_sum_are_no_numbers() -> None:
    """The latter is the potential, as in the functional derivative of an energy."""

    def loss(p: Params, x: Array) -> Array:
        y = jax.vmap(partial(net, p))(x)
        slope = jax.vmap(jax.grad(partial(net, p)))(x)[:, 0]
        potential = jax.grad(lambda out: jnp.sum(out * x[:, 0]))(y)
        return jnp.mean((slope + y) ** 2) + jnp.mean((potential - y) ** 2)

    assert {term.derivative for term in terms(loss)} == {None}


def test_a_derivative_that_the_loss_does_not_use_is_no_zero_derivative() -> None:
    def loss(p: Params, x: Array) -> Array:
        jax.vmap(laplacian(partial(net, p)))(x)
        return edge(p, x) + jnp.mean(x**2)

    assert [term.derivative for term in terms(loss)] == [None, None]


def test_terms_are_split_at_sums_and_factors_and_each_has_its_line() -> None:
    def loss(p: Params, x: Array) -> Array:
        fit = jnp.mean((x @ p["a"]) ** 2)
        size = jnp.sum(jnp.abs(p["b"]))
        energy = jnp.sum(jnp.stack([jnp.sum(p["c"] ** 2), jnp.sum(p["c"] ** 4)]) * jnp.array([1.0, 0.0]))
        return 2.0 * (fit - 1e-4 * size) / 3.0 + energy + 0.5 * jnp.log(2 * jnp.pi)

    found = terms(loss)
    assert [term.connection for term in found] == [ALIVE, ALIVE, ALIVE, CONSTANT]
    lines = [term.source.text.split()[0] for term in found if term.source is not None]
    assert lines == ["fit", "size", "energy", "return"]


def test_a_helper_that_makes_several_terms_is_told_by_the_lines_that_call_it() -> None:
    def loss(p: Params, x: Array) -> Array:
        one = edge(p, x)
        two = edge(p, 2 * x)
        return one + two

    lines = [term.source.text.split()[0] for term in terms(loss) if term.source is not None]
    assert lines == ["one", "two"]


def test_a_loss_of_a_library_is_one_term() -> None:
    def loss(p: Params, x: Array) -> Array:
        labels = jnp.array([0, 1, 2, 0, 1])
        soft = jax.nn.one_hot(labels, 3) * jax.nn.log_softmax(x @ p["a"])
        return (
            optax.softmax_cross_entropy_with_integer_labels(x @ p["a"], labels).mean()
            - soft.sum(axis=1).mean()
        )

    assert connections(loss) == [ALIVE, ALIVE]


@pytest.mark.parametrize(
    ("op", "term"),
    [
        ("argmax", lambda h: jnp.mean(jnp.argmax(h, -1) != 1)),
        ("gt", lambda h: jnp.mean(h > 0.5)),
        ("round", lambda h: jnp.sum(jnp.log(2 + jnp.round(h)))),
        ("stop_gradient", lambda h: jnp.mean((lax.stop_gradient(h) - lax.stop_gradient(2 * h)) ** 2)),
    ],
)
def test_a_term_without_a_differentiable_path_is_cut(op: str, term: Callable[[Array], Array]) -> None:
    found = terms(lambda p, x: edge(p, x) + 0.1 * term(jnp.tanh(x @ p["a"])))
    assert [each.connection for each in found] == [ALIVE, CUT]
    assert [cut.op for cut in found[1].cuts] == [op]
    assert found[1].parameters == ("a",)
    assert not found[1].detached


def uniform(z: Array) -> Array:
    return jnp.sum(jax.scipy.stats.uniform.logpdf(z), axis=1)


def inside(z: Array) -> Array:
    return jnp.all((z >= 0) & (z <= 1), axis=1)


SUPPORTS = {
    "scipy": uniform,
    "where": lambda z: jnp.where(inside(z), 0.0, -jnp.inf),
    "scaled": lambda z: jnp.where(jnp.abs(z) < 3, -jnp.log(6.0), -jnp.inf).sum(axis=1),
    "log of an indicator": lambda z: jnp.log(inside(z).astype(jnp.float32)),
    "with a constant": lambda z: uniform(z) - 0.5,
}
HARD = {
    "penalty outside": lambda z: jnp.where(inside(z), 0.0, -10.0),
    "log of a share": lambda z: jnp.log(jnp.mean(z > 0.5)),
    "count": lambda z: jnp.sum(z > 0.5, axis=1).astype(jnp.float32),
    "rounded": lambda z: uniform(z) + jnp.round(z).sum(axis=1),
    "sign": lambda z: jnp.sign(z - 0.5).sum(axis=1),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("density", SUPPORTS.values(), ids=SUPPORTS)
def test_a_density_that_is_constant_on_its_support_is_no_term_that_should_train(
    density: Callable[[Array], Array],
) -> None:
    (_, found) = terms(lambda p, x: edge(p, x) - jnp.mean(density(jax.nn.sigmoid(x @ p["a"]))))
    assert (found.connection, found.detached) == (CUT, True)


@pytest.mark.few(2)
@pytest.mark.parametrize("choice", HARD.values(), ids=HARD)
def test_a_choice_of_finite_numbers_is_one(choice: Callable[[Array], Array]) -> None:
    found = terms(lambda p, x: edge(p, x) - jnp.mean(choice(jax.nn.sigmoid(x @ p["a"]))))
    assert any(each.connection is CUT and not each.detached for each in found)


def test_a_value_added_behind_stop_gradient_is_detached_on_purpose() -> None:
    def offset(p: Params, x: Array) -> Array:
        value = jnp.mean(jnp.tanh(x @ p["a"]))
        return edge(p, x) + lax.stop_gradient(value)

    def divergence(p: Params, x: Array) -> Array:
        scores = x @ p["a"]
        target = lax.stop_gradient(jax.nn.softmax(2 * scores))
        cross = -jnp.mean(jnp.sum(target * jax.nn.log_softmax(scores), -1))
        entropy = -jnp.mean(jnp.sum(target * jnp.log(target), -1))
        return cross - entropy

    for loss in (offset, divergence):
        found = terms(loss)
        assert [term.connection for term in found] == [ALIVE, CUT]
        assert found[1].detached


@pytest.mark.parametrize(
    "term",
    [
        lambda h: 0.0 * jnp.mean(h**2),
        lambda h: jnp.mean(jnp.maximum(h - 9.0, 0.0)),
        lambda h: jnp.mean(h * lax.stop_gradient(h)),
        lambda h: jnp.mean((h - lax.stop_gradient(2 * h)) ** 2),
        lambda h: jnp.sum(jnp.where(h > 0, h, 0.0)),
        lambda h: jnp.mean(h + lax.stop_gradient(jnp.round(h) - h)),
    ],
    ids=["weight 0", "idle hinge", "factor", "target", "mask", "straight-through"],
)
def test_a_term_with_a_path_is_alive(term: Callable[[Array], Array]) -> None:
    found = terms(lambda p, x: edge(p, x) + term(jnp.tanh(x @ p["a"])))
    assert {each.connection for each in found if not each.detached} == {ALIVE}


def test_a_jitted_function_of_jax_has_its_line_inside_a_jit_of_another_library() -> None:
    def loss(p: Params, x: Array) -> Array:
        first = jnp.mean(x @ p["a"])
        return first + jnp.mean(jnp.tanh(x @ p["a"]))

    told = [str(term.source) for term in terms(loss)]
    assert len(set(told)) == 2
    assert [str(term.source) for term in terms(eqx.filter_jit(loss))] == told
