"""Losses that depend on fillers, and healthy ones that hold some."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.leaks.padded import padding_leaks
from gradscope.measure.leaks.trial import Trials
from gradscope.records import PaddingLeak
from gradscope.trace.program import Tracer

B, L, V, D, C = 8, 10, 19, 8, 4
RNG = np.random.default_rng(4)
LENGTHS = np.array([10, 4, 7, 6, 8, 5, 9, 3], np.int32)
REAL = np.arange(L) < LENGTHS[:, None]
TOKENS = np.where(REAL, RNG.integers(1, V, (B, L)), 0).astype(np.int32)
POINTS = (RNG.normal(size=(B, L, 3)) * REAL[..., None]).astype(np.float32)
MASKED = {
    "tokens": TOKENS,
    "mask": REAL.astype(np.float32),
    "label": RNG.integers(0, C, B),
    "tags": RNG.integers(0, C, (B, L)),
}
LENGTHY = {"tokens": TOKENS, "lengths": LENGTHS, "label": MASKED["label"]}
BARE = {"tokens": TOKENS, "label": MASKED["label"], "tags": MASKED["tags"]}
CLOUDS = {"points": POINTS, "mask": REAL, "label": MASKED["label"]}


def weight(*shape: int) -> Any:
    return (RNG.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)


PARAMS = {
    "embed": weight(V, D),
    "points": weight(3, D),
    "q": weight(D, D),
    "k": weight(D, D),
    "v": weight(D, D),
    "conv": weight(3, D, D),
    "head": weight(D, C),
    "words": weight(D, V),
}


def leaks(loss: Any, batch: Any) -> list[PaddingLeak]:
    tracer = Tracer(Problem(loss, PARAMS, batch))
    return list(padding_leaks(Trials(tracer.trace(batch), batch, tracer.inputs(batch))))


def attention(p: Any, h: Any, seen: Any = None) -> Any:
    scores = (h @ p["q"]) @ (h @ p["k"]).swapaxes(1, 2) / D**0.5
    if seen is not None:
        scores = jnp.where(seen, scores, -1e9)
    return h + jax.nn.softmax(scores) @ (h @ p["v"])


def entropy(z: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(z, labels)


def average(h: Any, mask: Any) -> Any:
    return jnp.sum(h * mask[..., None], 1) / jnp.sum(mask, 1)[:, None]


def over_real(losses: Any, mask: Any) -> Any:
    return jnp.sum(losses * mask) / jnp.sum(mask)


def recurrent(p: Any, h: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        state = jnp.tanh(x @ p["q"] + state @ p["k"])
        return state, state

    return lax.scan(step, jnp.zeros((B, D)), h.swapaxes(0, 1))[1].swapaxes(0, 1)


def plain_mean(p: Any, b: Any) -> Any:
    return entropy(attention(p, p["embed"][b["tokens"]]).mean(1) @ p["head"], b["label"]).mean()


def unmasked_attention(p: Any, b: Any) -> Any:
    h = attention(p, p["embed"][b["tokens"]])
    return entropy(average(h, b["mask"]) @ p["head"], b["label"]).mean()


def last_state(p: Any, b: Any) -> Any:
    return entropy(recurrent(p, p["embed"][b["tokens"]])[:, -1] @ p["head"], b["label"]).mean()


def tagging(p: Any, b: Any) -> Any:
    """The loss has its mask, and the model has none."""
    z = attention(p, p["embed"][b["tokens"]]) @ p["head"]
    return over_real(entropy(z, b["tags"]), b["tokens"] != 0)


def pooled_points(p: Any, b: Any) -> Any:
    return entropy(jnp.max(jnp.tanh(b["points"] @ p["points"]), 1) @ p["head"], b["label"]).mean()


def counted(p: Any, b: Any) -> Any:
    """The model has its mask, and the loss has none."""
    h = attention(p, p["embed"][b["tokens"]], (b["mask"] > 0)[:, None])
    return entropy(h @ p["head"], b["tags"]).mean()


SICK = {
    "a mean over all": (plain_mean, MASKED, True),
    "lengths that are not used": (plain_mean, LENGTHY, True),
    "attention without a mask": (unmasked_attention, MASKED, True),
    "the last state": (last_state, LENGTHY, True),
    "a mask in the loss alone": (tagging, BARE, True),
    "points": (pooled_points, CLOUDS, True),
    "a loss over fillers": (counted, MASKED, False),
}  # fmt: skip


@pytest.mark.few(5)
@pytest.mark.parametrize("name", SICK)
def test_a_loss_that_depends_on_fillers_is_found(name: str) -> None:
    loss, batch, outputs = SICK[name]
    (found,) = leaks(loss, batch)
    assert (found.fillers, found.elements) == (int((~REAL).sum()), B * L)
    assert (found.change > 0) == outputs
    assert found.loss != found.other
    said = {"mask", "lengths"} & batch.keys()
    assert found.said_by == (said.pop() if said else "")


def masked(p: Any, b: Any) -> Any:
    h = attention(p, p["embed"][b["tokens"]], (b["mask"] > 0)[:, None])
    return entropy(average(h, b["mask"]) @ p["head"], b["label"]).mean()


def by_lengths(p: Any, b: Any) -> Any:
    h = recurrent(p, p["embed"][b["tokens"]])
    return entropy(h[jnp.arange(B), b["lengths"] - 1] @ p["head"], b["label"]).mean()


def causal(p: Any, b: Any) -> Any:
    t = b["tokens"]
    h = attention(p, p["embed"][t[:, :-1]], jnp.tril(jnp.ones((L - 1, L - 1), bool)))
    return over_real(entropy(h @ p["words"], t[:, 1:]), t[:, 1:] != 0)


def own_mask(p: Any, b: Any) -> Any:
    real = b["tokens"] != 0
    h = attention(p, p["embed"][b["tokens"]], real[:, None])
    return entropy(average(h, real) @ p["head"], b["label"]).mean()


def masked_points(p: Any, b: Any) -> Any:
    h = jnp.where(b["mask"][..., None], jnp.tanh(b["points"] @ p["points"]), -jnp.inf)
    return entropy(jnp.max(h, 1) @ p["head"], b["label"]).mean()


def convolved(p: Any, b: Any) -> Any:
    """At the end of a sequence a convolution sees a filler, or the zeros that it is padded with."""
    h = p["embed"][b["tokens"]]
    h = lax.conv_general_dilated(h, p["conv"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
    return entropy(average(jax.nn.relu(h), b["mask"]) @ p["head"], b["label"]).mean()


def batch_normalized(p: Any, b: Any) -> Any:
    h = p["embed"][b["tokens"]]
    h = (h - h.mean((0, 1))) / jnp.sqrt(h.var((0, 1)) + 1e-5)
    return entropy(average(h, b["mask"]) @ p["head"], b["label"]).mean()


PROMPTS = MASKED | {"tokens": np.maximum(TOKENS, 1) + RNG.integers(0, 3, (B, L)).astype(np.int32)}
HEALTHY = {
    "masked": (masked, MASKED),
    "lengths": (by_lengths, LENGTHY),
    "causal": (causal, BARE),
    "a mask that the loss computes": (own_mask, BARE),
    "points": (masked_points, CLOUDS),
    "no mask and no lengths": (plain_mean, BARE),
    "a mask over real tokens": (plain_mean, PROMPTS),
    "convolved": (convolved, MASKED),
    "batch statistics": (batch_normalized, MASKED),
    "nothing is filled": (plain_mean, MASKED | {"tokens": np.maximum(TOKENS, 1) % 7 + TOKENS.T[:B, :1]}),
}  # fmt: skip


@pytest.mark.few(5)
@pytest.mark.parametrize("name", HEALTHY)
def test_fillers_that_are_left_out_are_quiet(name: str) -> None:
    loss, batch = HEALTHY[name]
    assert leaks(loss, batch) == []


def test_a_mask_that_the_network_takes_in_beside_the_values_tells_fillers_apart() -> None:
    def loss(p: Any, b: Any) -> Any:
        both = jnp.concatenate([b["points"][..., 0], b["mask"].astype(jnp.float32)], axis=1)
        return jnp.mean(jnp.tanh(both @ p["both"]) ** 2)

    params = PARAMS | {"both": weight(2 * L, D)}
    tracer = Tracer(Problem(loss, params, CLOUDS))
    assert not list(padding_leaks(Trials(tracer.trace(CLOUDS), CLOUDS, tracer.inputs(CLOUDS))))


@pytest.mark.parametrize("on_queries", [True, False])
def test_a_mask_of_the_loss_for_scores_has_to_lie_on_the_keys(on_queries: bool) -> None:
    def loss(p: Any, b: Any) -> Any:
        real = b["tokens"] != 0
        seen = real[:, :, None] if on_queries else real[:, None, :]
        return entropy(attention(p, p["embed"][b["tokens"]], seen)[:, 0] @ p["head"], b["label"]).mean()

    assert bool(leaks(loss, {"tokens": TOKENS, "label": MASKED["label"]})) is on_queries
