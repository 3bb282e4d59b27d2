"""Terms that are reduced unalike: how a loss is read, and which losses only look so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from jax import Array

from gradscope.load.problem import Problem
from gradscope.records import TermImbalance
from gradscope.trace.imbalance import imbalances
from gradscope.trace.program import Tracer

Params = dict[str, Array]
Loss = Callable[[Params, Any], Array]
EXAMPLES, PIXELS, CODE = 16, 30, 3
keys = iter(jax.random.split(jax.random.key(0), 16))


def weight(rows: int, columns: int) -> Array:
    return jax.random.normal(next(keys), (rows, columns)) / rows**0.5


params = {
    "encode": weight(PIXELS, 8),
    "code": weight(8, 2 * CODE),
    "decode": weight(CODE, 8),
    "out": weight(8, PIXELS),
    "head": weight(8, 5),
    "beta": jnp.float32(1.0),
}
images = jax.random.uniform(next(keys), (EXAMPLES, PIXELS))
noise = jax.random.normal(next(keys), (EXAMPLES, CODE))
labels = jnp.arange(EXAMPLES) % 5


def encoded(p: Params, x: Array) -> tuple[Array, Array]:
    return tuple(jnp.split(jnp.tanh(x @ p["encode"]) @ p["code"], 2, axis=-1))  # type: ignore[return-value]


def decoded(p: Params, z: Array) -> Array:
    return jnp.tanh(z @ p["decode"]) @ p["out"]


def parts(p: Params, x: Array, eps: Array = noise) -> tuple[Array, Array]:
    """By element: the error of a pixel, the divergence of an element of the code."""
    mean, logvar = encoded(p, x)
    error = (decoded(p, mean + jnp.exp(0.5 * logvar) * eps) - x) ** 2
    return error, 0.5 * (jnp.exp(logvar) + mean**2 - 1 - logvar)


def read(loss: Loss, p: Params = params, batch: Any = images) -> list[tuple[int, int, int]]:
    def told(each: TermImbalance) -> tuple[int, int, int]:
        return each.averaged_over, each.summed_over, each.divisor

    return [told(each) for each in imbalances(Tracer(Problem(loss, p, batch)).trace(batch))]


def faulty(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.mean(error) + jnp.mean(kl.sum(axis=1))


def with_cross_entropy(p: Params, x: Array) -> Array:
    mean, logvar = encoded(p, x)
    logits = decoded(p, mean + jnp.exp(0.5 * logvar) * noise)
    kl = -0.5 * jnp.sum(1 + logvar - jnp.square(mean) - jnp.exp(logvar), axis=-1)
    return optax.sigmoid_binary_cross_entropy(logits, x).mean() + kl.mean()


def with_written_cross_entropy(p: Params, x: Array) -> Array:
    mean, logvar = encoded(p, x)
    share = jax.nn.sigmoid(decoded(p, mean + jnp.exp(0.5 * logvar) * noise))
    error = -(x * jnp.log(share + 1e-6) + (1 - x) * jnp.log(1 - share + 1e-6))
    return jnp.mean(error) - 0.5 * jnp.mean(jnp.sum(1 + logvar - mean**2 - jnp.exp(logvar), axis=1))


def one_example(p: Params, x: Array, eps: Array) -> Array:
    error, kl = parts(p, x, eps)
    return jnp.mean(error) + jnp.sum(kl)


def mapped(p: Params, x: Array) -> Array:
    return jnp.mean(jax.vmap(partial(one_example, p))(x, noise))


def in_sums_and_counts(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.sum(error) / error.size + jnp.sum(kl) / x.shape[0]


def scaled_as_a_whole(p: Params, x: Array) -> Array:
    return 1e6 * faulty(p, x)


def with_more_terms(p: Params, x: Array) -> Array:
    return faulty(p, x) + 1e-4 * sum(jnp.sum(each**2) for each in jax.tree.leaves(p))


def in_half_precision(p: Params, x: Array) -> Array:
    halves = jax.tree.map(lambda each: each.astype(jnp.bfloat16), p)
    return faulty(halves, x.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    "loss",
    [
        *(faulty, with_cross_entropy, with_written_cross_entropy, in_sums_and_counts, scaled_as_a_whole),
        *(with_more_terms, in_half_precision, jax.jit(faulty), jax.checkpoint(faulty)),
    ],
)
def test_a_mean_over_pixels_beside_a_sum_over_the_code_is_read(loss: Loss) -> None:
    assert read(loss) == [(EXAMPLES * PIXELS, CODE, EXAMPLES)]


def test_a_loss_of_one_example_that_is_mapped_is_read() -> None:
    assert read(mapped) == [(PIXELS, CODE, 1)]


def test_a_sum_over_the_examples_too_is_read() -> None:
    def loss(p: Params, x: Array) -> Array:
        error, kl = parts(p, x)
        return jnp.mean(error) + jnp.sum(kl)

    assert read(loss) == [(EXAMPLES * PIXELS, CODE * EXAMPLES, 1)]


def test_a_mean_over_tokens_beside_a_sum_over_a_code_is_read() -> None:
    tokens = jnp.arange(EXAMPLES * PIXELS).reshape(EXAMPLES, PIXELS) % 5

    def loss(p: Params, batch: Any) -> Array:
        x, tokens = batch
        mean, logvar = encoded(p, x)
        logits = (mean[:, None] @ p["decode"] + jnp.ones((PIXELS, 1))) @ p["head"]
        error = optax.softmax_cross_entropy_with_integer_labels(logits, tokens)
        return error.mean() + jnp.mean(jnp.sum(mean**2 + jnp.exp(logvar) - logvar, axis=1))

    assert read(loss, params, (images, tokens)) == [(EXAMPLES * PIXELS, CODE, EXAMPLES)]


def test_the_layer_of_the_code_and_the_line_of_either_term_are_named() -> None:
    (found,) = imbalances(Tracer(Problem(faulty, params, images)).trace(images))
    assert found.layers == ("code",)
    assert found.averaged is not None
    assert "error = " in found.averaged.text
    assert found.summed is not None
    assert "kl.sum(axis=1)" in found.summed.text


def both_summed(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.mean(error.sum(axis=1)) + jnp.mean(kl.sum(axis=1))


def all_summed(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.sum(error) + jnp.sum(kl)


def both_averaged(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.mean(error) + jnp.mean(kl)


def with_a_chosen_weight(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.mean(error) + 0.01 * jnp.mean(kl.sum(axis=1))


def with_a_weighted_error(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return PIXELS * jnp.mean(error) + jnp.mean(kl.sum(axis=1))


def with_a_strong_weight(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.mean(error.sum(axis=1)) + 4.0 * jnp.mean(kl.sum(axis=1))


def with_a_learned_weight(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.mean(error) + p["beta"] * jnp.mean(kl.sum(axis=1))


def with_weight_decay(p: Params, x: Array) -> Array:
    return jnp.mean(parts(p, x)[0]) + sum(jnp.sum(each**2) for each in jax.tree.leaves(p))


def with_a_weak_penalty(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.mean(error.sum(axis=1)) + 1e-3 * jnp.mean(kl)


def of_two_heads(p: Params, x: Array) -> Array:
    h = jnp.tanh(x @ p["encode"])
    place = h @ p["head"]
    return jnp.mean((h @ p["out"] - x) ** 2) + jnp.mean(jnp.sum((place - x[:, :5]) ** 2, axis=1))


def with_a_classifier(p: Params, x: Array) -> Array:
    h = jnp.tanh(x @ p["encode"])
    onehot = jax.nn.one_hot(labels, 5)
    classes = -jnp.sum(onehot * jax.nn.log_softmax(h @ p["head"]), axis=-1)
    return jnp.mean((h @ p["out"] - x) ** 2) + jnp.mean(classes)


def of_one_output(p: Params, x: Array) -> Array:
    out = jnp.tanh(x @ p["encode"]) @ p["out"]
    mean = jnp.mean((out[:, 3:] - x[:, 3:]) ** 2)
    return mean + jnp.mean(jnp.sum((out[:, :3] - x[:, :3]) ** 2, axis=1))


def with_routed_experts(p: Params, x: Array) -> Array:
    h = jnp.tanh(x @ p["encode"])
    gates = jax.nn.softmax(h @ p["head"])
    load = 5 * jnp.sum(jnp.mean(gates, 0) * jnp.mean(jax.lax.stop_gradient(gates), 0))
    return jnp.mean((((h * gates[:, :1]) @ p["out"]) - x) ** 2) + load


def with_entropy(p: Params, x: Array) -> Array:
    logp = jax.nn.log_softmax(jnp.tanh(x @ p["encode"]) @ p["head"])
    entropy = -jnp.sum(jnp.exp(logp) * logp, axis=1)
    out = jnp.exp(logp)[:, :3] @ p["decode"] @ p["out"]
    return jnp.mean((out - x) ** 2) - jnp.mean(entropy)


def at_other_points(p: Params, x: Array) -> Array:
    def net(points: Array) -> Array:
        return decoded(p, jnp.tanh(points @ p["encode"])[:, :CODE])

    return jnp.mean((net(x) - x) ** 2) + jnp.sum(net(x[:2] * 0) ** 2)


def weighted_by_the_batch(p: Params, x: Array) -> Array:
    error, kl = parts(p, x)
    return jnp.mean(error) + jnp.mean(kl.sum(axis=1) * x[:, 0])


def of_a_policy(p: Params, x: Array) -> Array:
    mean, log_std = encoded(p, x)
    logp = jnp.sum(-0.5 * ((noise - mean) * jnp.exp(-log_std)) ** 2 - log_std, axis=1)
    value = decoded(p, mean)[:, 0]
    return (
        -jnp.mean(logp * noise[:, 0])
        + 0.5 * jnp.mean((value - x[:, 0]) ** 2)
        - 0.01 * jnp.mean(log_std.sum(1))
    )


@pytest.mark.parametrize(
    "loss",
    [
        *(both_summed, all_summed, both_averaged, with_a_chosen_weight, with_a_weighted_error),
        *(with_a_strong_weight, with_a_learned_weight, with_weight_decay, with_a_weak_penalty, of_two_heads),
        *(with_a_classifier, of_one_output, with_routed_experts, with_entropy, at_other_points),
        *(weighted_by_the_batch, of_a_policy),
    ],
)
def test_a_loss_that_only_looks_so_is_quiet(loss: Loss) -> None:
    assert read(loss) == []
