"""Messages that come back to their senders, and sums over gathered rows that are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ops import segment_max, segment_sum

from gradscope.load.problem import Problem
from gradscope.measure.messages import returned_messages
from gradscope.records import ReturnedMessages
from gradscope.trace.program import Tracer
from gradscope.trace.spliced import with_operands

N, E, F, G = 9, 20, 4, 3
RNG = np.random.default_rng(0)
GRAPH = {
    "x": RNG.normal(size=(N, F)).astype(np.float32),
    "s": RNG.integers(0, N, E),
    "r": RNG.integers(0, N, E),
    "e": RNG.normal(size=(E, F)).astype(np.float32),
    "weight": RNG.random(E).astype(np.float32),
    "graph": np.sort(RNG.integers(0, G, N)),
    "once": RNG.permutation(N)[:5],
}
PARAMS = {
    "w": RNG.normal(size=(F, F)).astype(np.float32),
    "b": RNG.normal(size=F).astype(np.float32),
    "table": RNG.normal(size=(N, F)).astype(np.float32),
}


def found(aggregate: Callable[[Any, Any], Any], *more: Any) -> list[ReturnedMessages]:
    def loss(p: Any, g: Any) -> Any:
        return jnp.mean(jax.nn.relu(aggregate(p, g)) ** 2) + jnp.mean((g["x"] @ p["w"]) ** 2)

    batches = GRAPH, *more
    tracer = Tracer(Problem(loss, PARAMS, GRAPH))
    inputs = [tracer.inputs(each) for each in batches]
    return [each.record for each in returned_messages(tracer.trace(GRAPH), GRAPH, inputs)]


def dense(p: Any, rows: Any) -> Any:
    return jax.nn.relu(rows @ p["w"] + p["b"])


SICK: dict[str, Callable[[Any, Any], Any]] = {
    "plain": lambda p, g: segment_sum(g["x"][g["s"]], g["s"], N) @ p["w"],
    "of a layer": lambda p, g: segment_sum(dense(p, g["x"])[g["s"]], g["s"], N),
    "a layer on the messages": lambda p, g: segment_sum(dense(p, g["x"][g["s"]]), g["s"], N),
    "weighted edges": lambda p, g: segment_sum(dense(p, g["x"][g["s"]]) * g["weight"][:, None], g["s"], N),
    "largest": lambda p, g: segment_max(dense(p, g["x"][g["r"]]), g["r"], N),
    "added in place": lambda p, g: jnp.zeros((N, F)).at[g["s"]].add(dense(p, g["x"][g["s"]])),
    "jit": jax.jit(lambda p, g: segment_sum(dense(p, jnp.take(g["x"], g["s"], 0)), g["s"], N)),
    "half precision": lambda p, g: segment_sum(dense(p, g["x"].astype(jnp.bfloat16)[g["s"]]), g["s"], N),
    "both of one end": lambda p, g: segment_sum(
        jnp.concatenate([g["x"][g["s"]], dense(p, g["x"])[g["s"]]], 1), g["s"], N
    ),
}


@pytest.mark.parametrize("name", SICK)
def test_messages_that_come_back_are_seen(name: str) -> None:
    (seen,) = found(SICK[name])
    index = GRAPH["r" if name == "largest" else "s"]
    assert (seen.messages, seen.senders, seen.rows) == (E, len(set(index.tolist())), N)


def normalized(p: Any, g: Any) -> Any:
    """Attention over the edges: a softmax over those that come in."""
    scores = (dense(p, g["x"])[g["r"]] * g["x"][g["s"]]).sum(1)
    exp = jnp.exp(scores - segment_max(scores, g["r"], N)[g["r"]])
    weights = exp / segment_sum(exp, g["r"], N)[g["r"]]
    return segment_sum(weights[:, None] * g["x"][g["s"]], g["r"], N)


def sent_and_received(p: Any, g: Any) -> Any:
    """Each edge tells both of its ends."""
    edges = dense(p, g["x"])[g["s"]]
    return segment_sum(edges, g["s"], N) + segment_sum(edges, g["r"], N)


def pooled_and_given_back(p: Any, g: Any) -> Any:
    h = dense(p, g["x"])
    mean = segment_sum(h, g["graph"], G) / G
    spread = segment_sum((h - mean[g["graph"]]) ** 2, g["graph"], G)
    return h / jnp.sqrt(1 + spread[g["graph"]])


def self_loops(p: Any, g: Any) -> Any:
    s, r = (jnp.concatenate([g[end], jnp.arange(N)]) for end in "sr")
    return segment_sum(dense(p, g["x"])[s], r, N)


def inner_gradient(p: Any, g: Any) -> Any:
    """Of a table of embeddings, as an inner loop of meta-learning takes it."""
    return p["table"] - 0.1 * jax.grad(lambda t: jnp.sum(jnp.tanh(t[g["s"]] @ p["w"]) ** 2))(p["table"])


HEALTHY: dict[str, Callable[[Any, Any], Any]] = {
    "to the receivers": lambda p, g: segment_sum(dense(p, g["x"])[g["s"]], g["r"], N),
    "from the receivers": lambda p, g: segment_sum(dense(p, g["x"])[g["r"]], g["s"], N),
    "with features of the edges": lambda p, g: segment_sum(dense(p, g["x"][g["s"]] + g["e"]), g["s"], N),
    "of both ends": lambda p, g: segment_sum(dense(p, g["x"][g["s"]] - g["x"][g["r"]]), g["s"], N),
    "of edges": lambda p, g: segment_sum(dense(p, g["e"]), g["s"], N),
    "chosen rows, put back": lambda p, g: jnp.zeros((N, F)).at[g["once"]].add(dense(p, g["x"][g["once"]])),
    "added to the rows": lambda p, g: dense(p, g["x"]).at[g["s"]].add(dense(p, g["x"][g["s"]])),
    "bags of tokens": lambda p, g: segment_sum(p["table"][g["s"]], g["r"], N),
    "counted tokens": lambda p, g: segment_sum(p["table"][g["s"]], g["s"], N),
    "attention": normalized,
    "sent and received": sent_and_received,
    "pooled": pooled_and_given_back,
    "self-loops": self_loops,
    "inner gradient": inner_gradient,
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_meant_is_not(name: str) -> None:
    assert found(HEALTHY[name]) == []


def test_indices_that_differ_in_another_batch_are_two() -> None:
    alike = {**GRAPH, "r": GRAPH["s"]}

    def aggregate(p: Any, g: Any) -> Any:
        return segment_sum(dense(p, g["x"])[g["s"]], g["r"], N)

    assert found(aggregate, alike) == []


@pytest.mark.parametrize("name", ["s and r", "pairs", "edges"])
def test_the_other_index_of_the_batch_is_put_in_its_place(name: str) -> None:
    both = np.stack([GRAPH["s"], GRAPH["r"]])
    batch = {"x": GRAPH["x"], "edges": both.T if name == "edges" else both}
    batch = GRAPH if name == "s and r" else batch

    def loss(p: Any, g: Any, to: int) -> Any:
        ends = (g["s"], g["r"]) if name == "s and r" else g["edges"].T if name == "edges" else g["edges"]
        summed = jax.jit(lambda rows: segment_sum(rows, ends[to], N))
        return jnp.mean(summed(jax.nn.relu(summed(dense(p, g["x"])[ends[0]]) @ p["w"])[ends[0]]) ** 2)

    tracer = Tracer(Problem(lambda p, g: loss(p, g, 0), PARAMS, batch))
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    returned = returned_messages(program, batch, [inputs])
    others = [(each.sum.eqn, 1, each.receivers) for each in returned if each.receivers is not None]
    assert len(others) == 2
    body = with_operands(program.body, others)
    found = jax.core.eval_jaxpr(body.jaxpr, body.consts, *inputs.weights, *inputs.others)[0]
    np.testing.assert_allclose(found, loss(PARAMS, batch, 1), rtol=1e-5)


def test_of_several_indices_none_is_taken() -> None:
    batch = {**GRAPH, "third": RNG.integers(0, N, E)}
    tracer = Tracer(Problem(lambda p, g: jnp.mean(SICK["plain"](p, g) ** 2), PARAMS, batch))
    (each,) = returned_messages(tracer.trace(batch), batch, [tracer.inputs(batch)])
    assert each.receivers is None
