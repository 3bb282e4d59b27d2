"""How routers share rows out: counted as plain JAX counts, in every nesting, and what is no router."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax

from gradscope.records import Report, Routing
from gradscope.runs.check import check_loss
from tests.trace.oracle import normal

ROWS, WIDTH, EXPERTS, TOP = 128, 16, 4, 2
X, Y = normal(0, ROWS, WIDTH), normal(9, ROWS, WIDTH)
PARAMS = {
    "router": {"w": normal(1, WIDTH, EXPERTS) / 4, "b": jnp.zeros(EXPERTS)},
    "up": normal(2, EXPERTS, WIDTH, 2 * WIDTH) / 4,
    "down": normal(3, EXPERTS, 2 * WIDTH, WIDTH) / 6,
}
NEVER = {**PARAMS, "router": {**PARAMS["router"], "b": jnp.array([0.0, 0.0, -60.0, 0.0])}}
Model = Callable[[Any, Any], Any]


def experts(p: Any, x: Any) -> Any:
    return jnp.einsum("beh,ehd->bed", jax.nn.relu(jnp.einsum("bd,edh->beh", x, p["up"])), p["down"])


def switch(p: Any, x: Any) -> Any:
    share = jax.nn.softmax(x @ p["router"]["w"] + p["router"]["b"])
    chosen = jax.nn.one_hot(jnp.argmax(share, axis=-1), EXPERTS)
    return jnp.einsum("be,bed->bd", chosen * share, experts(p, x))


def top_two(p: Any, x: Any) -> Any:
    """As Mixtral: a softmax of the scores that were chosen."""
    scores, chosen = lax.top_k(x @ p["router"]["w"] + p["router"]["b"], TOP)
    taken = jnp.take_along_axis(experts(p, x), chosen[..., None], axis=1)
    return jnp.einsum("bk,bkd->bd", jax.nn.softmax(scores), taken)


def dispatched(p: Any, x: Any) -> Any:
    """With a capacity: each expert computes the rows that are sent to it."""
    share = jax.nn.softmax(x @ p["router"]["w"] + p["router"]["b"])
    sent = jax.nn.one_hot(jnp.argmax(share, axis=-1), EXPERTS)
    place = jnp.cumsum(sent, axis=0) * sent - 1
    dispatch = jax.nn.one_hot(place.astype(int), 40) * sent[..., None]
    into = jnp.einsum("bec,bd->ecd", dispatch, x)
    out = jnp.einsum("ech,ehd->ecd", jax.nn.relu(jnp.einsum("ecd,edh->ech", into, p["up"])), p["down"])
    return jnp.einsum("bec,ecd,be->bd", dispatch, out, share)


def by_sigmoid(p: Any, x: Any) -> Any:
    share = jax.nn.sigmoid(x @ p["router"]["w"] + p["router"]["b"])
    gates, chosen = lax.top_k(share, TOP)
    taken = jnp.take_along_axis(experts(p, x), chosen[..., None], axis=1)
    return jnp.einsum("bk,bkd->bd", gates / gates.sum(-1, keepdims=True), taken)


def looped(p: Any, x: Any) -> Any:
    stack = jax.tree.map(lambda leaf: leaf[None], p)
    return lax.scan(jax.checkpoint(lambda h, row: (switch(row, h), None)), x, stack)[0]


def by_row(p: Any, x: Any) -> Any:
    return jax.vmap(lambda row: top_two(p, row[None])[0])(x)


def checked(model: Model, params: Any = PARAMS, steps: int = 3, data: Any = (X, Y)) -> Report:
    def loss_fn(p: Any, batch: Any) -> Any:
        return jnp.mean((model(p, batch[0]) - batch[1]) ** 2)

    return check_loss(loss_fn, params, data, optimizer=optax.sgd(0.01), steps=steps)


def routings(report: Report) -> tuple[Routing, ...]:
    assert report.flow is not None
    assert report.skipped == ()
    return report.flow.routings


@pytest.mark.few(4)
@pytest.mark.parametrize("model", [switch, top_two, looped, by_row, dispatched, by_sigmoid, jax.jit(switch)])
def test_the_load_is_that_of_plain_jax(model: Model) -> None:
    (routing,) = routings(checked(model, steps=0))
    several = TOP if model in (top_two, by_row, by_sigmoid) else 1
    chosen = lax.top_k(X @ PARAMS["router"]["w"], several)[1]
    assert routing.loads == tuple(np.bincount(np.ravel(chosen), minlength=EXPERTS))
    assert (routing.chosen, routing.rows, routing.layer) == (several, ROWS, "router")
    assert sum(routing.shares) == pytest.approx(1.0)


def told(report: Report) -> list[str]:
    return [finding.message for finding in report.findings if finding.rule == "unbalanced-experts"]


def test_an_expert_that_is_never_chosen_is_told() -> None:
    (message,) = told(checked(switch, NEVER))
    assert "1 of the 4 experts (2, counted from 0) are chosen for none of the 128 rows" in message
    (message,) = told(checked(top_two, NEVER))
    assert "where 25 % would be even" in message


def test_one_that_comes_alive_in_a_few_steps_is_quiet() -> None:
    params = {**PARAMS, "router": {**PARAMS["router"], "b": jnp.array([0.0, 0.0, -8.0, 0.0])}}

    def balanced(p: Any, batch: Any) -> Any:
        share = jax.nn.softmax(batch[0] @ p["router"]["w"] + p["router"]["b"])
        return jnp.mean((switch(p, batch[0]) - batch[1]) ** 2) - 0.1 * jnp.log(share[:, 2]).mean()

    report = check_loss(balanced, params, (X, Y), optimizer=optax.sgd(10.0), steps=10)
    (routing,) = routings(report)
    assert routing.idle == (2,)
    assert routing.idle_later == ()
    assert told(report) == []


def test_few_rows_and_an_uneven_load_are_quiet() -> None:
    assert told(checked(switch, NEVER, data=(X[:32], Y[:32]))) == []
    uneven = {**PARAMS, "router": {**PARAMS["router"], "b": jnp.array([2.0, 0.0, 0.0, 0.0])}}
    assert told(checked(switch, uneven)) == []


def test_experts_in_a_list_of_modules_are_seen() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.router = nnx.Linear(WIDTH, EXPERTS, rngs=rngs)
            self.experts = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(EXPERTS)])

        def __call__(self, x: Any) -> Any:
            share = jax.nn.softmax(self.router(x))
            gates, chosen = lax.top_k(share, TOP)
            outs = jnp.stack([expert(x) for expert in self.experts], axis=1)
            return jnp.einsum("bk,bkd->bd", gates, jnp.take_along_axis(outs, chosen[..., None], axis=1))

    (routing,) = routings(checked(lambda model, x: model(x), Net(), steps=0))
    assert (routing.experts, routing.layer) == (EXPERTS, "router")


def accuracy(p: Any, x: Any) -> Any:
    """The class that is chosen is counted, and nothing more."""
    scores = x @ p["router"]["w"]
    return jax.nn.softmax(scores) @ jnp.ones((EXPERTS, WIDTH)) + 0 * jnp.argmax(scores, -1)[:, None]


def codes(p: Any, x: Any) -> Any:
    """A vector of a codebook is chosen, as in a VQ-VAE."""
    h = x @ p["up"][0]
    nearest = jnp.argmax(h @ p["codes"].T, axis=-1)
    return (h + lax.stop_gradient(p["codes"][nearest] - h)) @ p["down"][0]


def largest(p: Any, x: Any) -> Any:
    """Pooling: the largest values themselves, of as many units as there are experts."""
    return jnp.repeat(lax.top_k(x @ p["router"]["w"], TOP)[0], WIDTH // TOP, axis=-1) + experts(p, x).mean(1)


def labels_of_its_own(p: Any, x: Any) -> Any:
    """As many classes as there are experts; the class that it gives a row is the label of the row changed."""
    label = jax.nn.one_hot(jnp.argmax(jax.nn.softmax(x @ p["router"]["w"]), axis=-1), EXPERTS)
    again = jax.nn.log_softmax((x + 0.1) @ p["router"]["w"])
    return (lax.stop_gradient(label) * again).sum(-1, keepdims=True) + experts(p, x).mean(1)


@pytest.mark.parametrize("model", [accuracy, codes, largest, labels_of_its_own])
def test_what_is_no_router(model: Model) -> None:
    params = {**PARAMS, "codes": normal(7, EXPERTS, 2 * WIDTH)}
    assert routings(checked(model, params, steps=0)) == ()
