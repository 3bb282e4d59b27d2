"""Deep stacks past which nothing goes, and the training with residual connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gradscope.load.problem import Problem
from gradscope.records import Report
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_problem
from gradscope.trace.plain_stacks import plain_stack
from gradscope.trace.program import Tracer
from tests.trace.oracle import normal

D, T, V, DEEP = 16, 6, 8, 10
TOKENS = np.random.default_rng(0).integers(0, V, (32, T))
PARAMS = {
    "tokens": normal(0, V, D),
    "places": normal(1, T, D),
    "blocks": [
        {name: normal(10 * i + j, D, D, scale=D**-0.5) for j, name in enumerate("qkvo")} for i in range(DEEP)
    ],
    "head": normal(3, D, V, scale=0.1 * D**-0.5),
}
Loss = Callable[[Any, Any], Any]


def norm(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-5)


def attention(p: Any, x: Any) -> Any:
    scores = (x @ p["q"]) @ jnp.swapaxes(x @ p["k"], 1, 2) / D**0.5
    return (jax.nn.softmax(scores) @ (x @ p["v"])) @ p["o"]


def transformer(kind: str) -> Loss:
    def block(p: Any, x: Any) -> Any:
        if kind == "after":
            return norm(x + attention(p, x))
        if kind == "none after":
            return norm(attention(p, x))
        out = attention(p, norm(x))
        if kind == "gated":
            gate = jax.nn.sigmoid(out)
            return gate * out + (1 - gate) * x
        return x + out if kind == "before" else out

    def loss(params: Any, tokens: Any) -> Any:
        x = params["tokens"][tokens] + params["places"]
        for p in params["blocks"]:
            x = jax.checkpoint(block)(p, x) if kind == "kept" else block(p, x)
        scores = norm(x) @ params["head"]
        return optax.softmax_cross_entropy_with_integer_labels(scores, (tokens + 1) % V).mean()

    return loss


def stack_of(loss: Loss, params: Any, batch: Any) -> int:
    return len(plain_stack(Tracer(Problem(loss, params, batch)).trace(batch)))


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("none", DEEP + 1),
        ("none after", DEEP + 1),
        ("kept", DEEP + 1),
        ("before", 0),
        ("after", 0),
        ("gated", 0),
    ],
)
def test_attention_blocks(kind: str, outputs: int) -> None:
    assert stack_of(transformer(kind), PARAMS, TOKENS) == outputs


def test_equal_layers_of_other_frameworks() -> None:
    x, key = normal(5, 8, D), jax.random.key(0)
    mlp = eqx.nn.MLP(D, D, D, DEEP - 1, key=key)
    arrays, static = eqx.partition(mlp, eqx.is_array)
    graph, state = nnx.split(nnx.Sequential(*[nnx.Linear(D, D, rngs=nnx.Rngs(i)) for i in range(DEEP)]))
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([D] * DEEP)(x)))

    def squared(apply: Callable[[Any, Any], Any]) -> Loss:
        return lambda params, x: jnp.mean(apply(params, x) ** 2)

    assert stack_of(squared(lambda p, x: jax.vmap(eqx.combine(p, static))(x)), arrays, x) == DEEP
    assert stack_of(squared(lambda p, x: nnx.merge(graph, p)(x)), nnx.to_pure_dict(state), x) == DEEP
    assert stack_of(squared(net.apply), net.init(key, x), x) == DEEP


def dense(params: Any, x: Any) -> Any:
    """Each layer sees all that were before it."""
    for p in params["blocks"]:
        x = jnp.concatenate([x, jnp.tanh(x[:, -D:] @ p["q"])], axis=1)
    return jnp.mean(x**2)


def four(params: Any, x: Any) -> Any:
    for p in params["blocks"][:4]:
        x = jnp.tanh(x @ p["q"])
    return jnp.mean(x**2)


def skipping_two(params: Any, x: Any) -> Any:
    for i in range(0, DEEP, 2):
        x = x + jnp.tanh(x @ params["blocks"][i]["q"]) @ params["blocks"][i + 1]["q"]
    return jnp.mean(x**2)


def over_the_data_again(params: Any, x: Any) -> Any:
    h = x
    for p in params["blocks"]:
        h = jnp.tanh(h @ p["q"] + x @ p["k"])
    return jnp.mean(h**2)


@pytest.mark.parametrize("loss", [dense, four, skipping_two, over_the_data_again])
def test_stacks_past_which_something_goes_and_short_ones(loss: Loss) -> None:
    assert stack_of(loss, PARAMS, normal(5, 8, D)) == 0


def checked(kind: str) -> Report:
    problem = Problem(transformer(kind), PARAMS, TOKENS, optimizer=optax.adam(3e-3))
    return check_problem(problem, CheckOptions(), target="m.py")


@pytest.fixture(scope="module")
def plain() -> Report:
    return checked("none")


def test_a_stack_that_needs_residual_connections_is_told(plain: Report) -> None:
    (finding,) = [each for each in plain.findings if each.severity.value != "note"]
    assert finding.rule == "missing-residual"
    assert finding.source is not None
    assert "out = attention" in finding.source.text or '@ p["o"]' in finding.source.text


def test_what_is_tried_is_the_program_with_sums(plain: Report) -> None:
    """The sum of all outputs, with what goes in."""
    assert plain.training is not None
    tried = plain.training.skips
    assert tried is not None
    assert tried.values == DEEP
    np.testing.assert_allclose(tried.start, transformer("before")(PARAMS, TOKENS), rtol=1e-5)
    np.testing.assert_allclose(tried.start_without, transformer("none")(PARAMS, TOKENS), rtol=1e-5)


def test_with_them_nothing_is_tried() -> None:
    found = checked("before")
    assert found.training is not None
    assert found.training.skips is None
    assert [each.rule for each in found.findings if each.severity.value != "note"] == []
