"""Credit that is sent the wrong way, and programs that look alike and are as they should be."""

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
from gradscope.measure.leaks.counted_labels import counted_labels
from gradscope.measure.leaks.other_rows import labels_of_others
from gradscope.measure.leaks.trial import Trials
from gradscope.measure.misdirected import misdirected
from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace.loss_terms import loss_terms
from gradscope.trace.program import Tracer

N, K = 16, 4
RNG = np.random.default_rng(3)
BATCH = {
    "s": RNG.normal(size=(N, 3)).astype(np.float32),
    "next": RNG.normal(size=(N, 3)).astype(np.float32),
    "a": RNG.integers(0, K, N),
    "r": RNG.normal(size=N).astype(np.float32),
    "done": RNG.random(N) < 0.3,
    "positive": RNG.random(N).astype(np.float32),
}
PARAMS = {
    "h": RNG.normal(size=(3, 8)).astype(np.float32),
    "v": RNG.normal(size=(8, 1)).astype(np.float32),
    "pi": RNG.normal(size=(8, K)).astype(np.float32),
    "z": np.zeros((), np.float32),
}
Loss = Callable[[Any, Any], Any]


def value(p: Any, s: Any) -> Any:
    return (jnp.tanh(s @ p["h"]) @ p["v"])[:, 0]


def scores(p: Any, s: Any) -> Any:
    return jnp.tanh(s @ p["h"]) @ p["pi"]


def log_p(p: Any, b: Any) -> Any:
    return jax.nn.log_softmax(scores(p, b["s"]))


def taken(p: Any, b: Any) -> Any:
    return jnp.take_along_axis(log_p(p, b), b["a"][:, None], 1)[:, 0]


def entropy(p: Any, b: Any) -> Any:
    logs = log_p(p, b)
    return -jnp.sum(jnp.exp(logs) * logs, -1)


def found(loss: Loss, batch: Any = BATCH) -> list[MisdirectedCredit]:
    tracer = Tracer(Problem(loss, PARAMS, batch))
    return list(misdirected(tracer.trace(batch), tracer.inputs(batch, 0)))


def q_learning(p: Any, b: Any) -> Any:
    best = scores(p, b["next"]).max(-1)
    target = jnp.where(b["done"], b["r"], b["r"] + 0.9 * best)
    q = jnp.take_along_axis(scores(p, b["s"]), b["a"][:, None], 1)[:, 0]
    return optax.huber_loss(q, target).mean()


def temporal_difference(p: Any, b: Any) -> Any:
    error = b["r"] + 0.9 * (1 - b["done"]) * value(p, b["next"]) - value(p, b["s"])
    return jnp.mean(error**2)


def lambda_returns(p: Any, b: Any) -> Any:
    v = value(p, b["s"])

    def back(total: Any, step: Any) -> Any:
        total = step[0] + 0.9 * (0.1 * step[1] + 0.9 * total)
        return total, total

    returns = lax.scan(back, v[-1], (b["r"][:-1], v[1:]), reverse=True)[1]
    return jnp.mean((v[:-1] - returns) ** 2)


def critic_in_the_advantage(p: Any, b: Any) -> Any:
    advantage = b["r"] - value(p, b["s"])
    scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    return -jnp.mean(taken(p, b) * scaled) + 0.5 * jnp.mean(advantage**2)


def mean_of_logs_times_returns(p: Any, b: Any) -> Any:
    return -jnp.sum(taken(p, b).mean() * b["r"])


def weights_after_the_mean(p: Any, b: Any) -> Any:
    return jnp.sum(-taken(p, b).mean() * b["positive"]) / b["positive"].sum()


def sum_of_all_rows(p: Any, b: Any) -> Any:
    return jnp.mean(0.5 * jnp.sum(log_p(p, b)) - value(p, b["s"])[:, None])


def every_choice(p: Any, b: Any) -> Any:
    advantage = lax.stop_gradient(b["r"] - value(p, b["s"]))
    return -jnp.mean(jnp.sum(log_p(p, b) * advantage[:, None], -1)) - 0.01 * entropy(p, b).mean()


def labels_in_a_column(p: Any, b: Any) -> Any:
    return optax.softmax_cross_entropy(scores(p, b["s"]), b["a"][:, None].astype(jnp.float32)).mean()


def entropy_minimized(p: Any, b: Any) -> Any:
    return -jnp.mean(taken(p, b) * b["r"]) + 0.01 * entropy(p, b).mean()


def optimistic_clip(p: Any, b: Any) -> Any:
    ratio = jnp.exp(taken(p, b) + 1.4)
    return jnp.mean(jnp.minimum(-ratio * b["r"], -jnp.clip(ratio, 0.8, 1.2) * b["r"]))


def offset_alone(p: Any, b: Any) -> Any:
    return jnp.mean((p["z"] + lax.stop_gradient(taken(p, b)) - b["r"]) ** 2)


def values_of_a_sequence(p: Any, b: Any) -> Any:
    v = value(p, b["s"])
    error = b["r"][:-1] + 0.9 * (1 - b["done"][:-1]) * v[1:] - v[:-1]
    return jnp.mean(error**2)


def masked_columns(p: Any, b: Any) -> Any:
    weighed = (-log_p(p, b) * b["r"][:, None]).reshape(4, 4, K) * b["positive"].reshape(4, 4, 1)
    return weighed.sum((1, 2)).mean()


def entropy_beside_a_ratio(p: Any, b: Any) -> Any:
    ratio = jnp.exp(taken(p, b) + b["positive"])
    gain = jnp.minimum(ratio * b["r"], jnp.clip(ratio, 0.8, 1.2) * b["r"])
    return -gain.mean() + 0.01 * entropy(p, b).mean()


def critic_beside_a_yes_or_no(p: Any, b: Any) -> Any:
    logit, advantage = scores(p, b["s"])[:, 0], b["r"] - value(p, b["next"])
    chance = jnp.where(b["done"], jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit))
    return -jnp.mean(chance * advantage) + 0.5 * jnp.mean(advantage**2)


SICK = [
    (critic_beside_a_yes_or_no, Misdirection.BASELINE),
    (q_learning, Misdirection.TARGET),
    (temporal_difference, Misdirection.TARGET),
    (lambda_returns, Misdirection.TARGET),
    (critic_in_the_advantage, Misdirection.BASELINE),
    (mean_of_logs_times_returns, Misdirection.AVERAGED),
    (weights_after_the_mean, Misdirection.AVERAGED),
    (sum_of_all_rows, Misdirection.SUMMED),
    (values_of_a_sequence, Misdirection.TARGET),
    (masked_columns, Misdirection.EVERY_CHOICE),
    (entropy_beside_a_ratio, Misdirection.ENTROPY),
    (every_choice, Misdirection.EVERY_CHOICE),
    (labels_in_a_column, Misdirection.EVERY_CHOICE),
    (entropy_minimized, Misdirection.ENTROPY),
    (optimistic_clip, Misdirection.CLIP),
    (offset_alone, Misdirection.OFFSET),
]


@pytest.mark.parametrize(("loss", "kind"), SICK, ids=[each[0].__name__ for each in SICK])
def test_each_kind_is_found_once_on_the_line_that_it_stands_on(loss: Loss, kind: Misdirection) -> None:
    (only,) = found(loss)
    assert only.kind is kind
    assert only.source is not None
    assert only.source.file.endswith("test_misdirected.py")


def test_a_target_says_the_discount_and_a_mean_the_rows() -> None:
    assert found(q_learning)[0].discount == pytest.approx(0.9)
    assert found(mean_of_logs_times_returns)[0].count == N
    assert found(every_choice)[0].count == K


def held_target(p: Any, b: Any) -> Any:
    target = lax.stop_gradient(b["r"] + 0.9 * value(p, b["next"]))
    advantage = lax.stop_gradient(target - value(p, b["s"]))
    ratio = jnp.exp(taken(p, b) + 1.4)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
    return -gain.mean() + optax.l2_loss(value(p, b["s"]), target).mean() - 0.01 * entropy(p, b).mean()


def smoothness(p: Any, b: Any) -> Any:
    step = value(p, b["next"]) - value(p, b["s"]) - 0.1 * b["r"]
    return jnp.mean(step**2) + jnp.mean((value(p, b["s"]) - b["r"]) ** 2)


def boosted(p: Any, b: Any) -> Any:
    return jnp.mean((b["r"] - 0.5 * value(p, b["next"]) - value(p, b["s"])) ** 2)


def centered(p: Any, b: Any) -> Any:
    v = value(p, b["s"])
    return jnp.mean((v - v.mean() - b["r"]) ** 2) + jnp.mean(v - v.mean())


def contrastive(p: Any, b: Any) -> Any:
    logits = scores(p, b["s"]) @ scores(p, b["next"]).T
    return -jnp.mean(jnp.diag(logits) - jax.nn.logsumexp(logits, 1))


def label_smoothing(p: Any, b: Any) -> Any:
    smooth = -jnp.sum(log_p(p, b) * b["positive"][:, None], -1) / K
    return jnp.mean(-0.9 * taken(p, b) * b["positive"] + 0.1 * smooth)


def certain_on_unlabelled_rows(p: Any, b: Any) -> Any:
    return -jnp.mean(taken(p, b) * b["positive"]) + 0.1 * entropy(p, {**b, "s": b["next"]}).mean()


def multiplier(p: Any, b: Any) -> Any:
    constraint = b["r"] - value(p, b["s"])
    return p["z"] * constraint.mean() + jnp.mean(constraint**2)


def offset_beside_a_network(p: Any, b: Any) -> Any:
    return jnp.mean((p["z"] + lax.stop_gradient(taken(p, b)) + value(p, b["s"]) - b["r"]) ** 2)


def difference_equation(p: Any, b: Any) -> Any:
    """A network of time and place that decays and is driven: u(t + h) = 0.95 u(t) + h f(t)."""
    step = value(p, b["s"] + 0.01) - (0.95 * value(p, b["s"]) + 0.01 * b["r"])
    return jnp.mean(step**2) + jnp.mean((value(p, jnp.zeros((1, 3))) - 1) ** 2)


def linear_dynamics(p: Any, b: Any) -> Any:
    """Features whose next values are a part of these and of a control."""
    now, then = b["s"] @ p["h"], b["next"] @ p["h"]
    rebuilt = jnp.tanh(now) @ p["h"].T
    return jnp.mean((then - (0.9 * now + b["r"][:, None])) ** 2) + jnp.mean((rebuilt - b["s"]) ** 2)


def soft_labels_masked_first(p: Any, b: Any) -> Any:
    soft = jax.nn.softmax(b["s"] @ np.arange(3 * K, dtype=np.float32).reshape(3, K))
    return -jnp.sum(log_p(p, b) * b["positive"][:, None] * soft) / b["positive"].sum()


def weighed_before_the_choice(p: Any, b: Any) -> Any:
    return -jnp.sum(
        (log_p(p, b) * b["r"][:, None]).reshape(4, 4, K) * jax.nn.one_hot(b["a"].reshape(4, 4), K)
    )


def confused_domains(p: Any, b: Any) -> Any:
    features = jnp.tanh(b["s"] @ p["h"])
    confused = jax.nn.log_softmax(features @ lax.stop_gradient(p["pi"][:, :3]))
    return -taken(p, b).mean() - (confused * b["positive"][:, None]).sum() / 3 / N


def outliers_beside_one_hot(p: Any, b: Any) -> Any:
    logits = scores(p, b["s"])
    own = (jax.nn.logsumexp(logits, -1) - (logits * jax.nn.one_hot(b["a"], K)).sum(-1)).mean()
    return own - 0.5 * (b["positive"][:, None] * log_p(p, {"s": b["next"]})).mean()


def total_return(p: Any, b: Any) -> Any:
    return -jnp.mean(taken(p, b).reshape(4, 4).sum(1, keepdims=True) * b["r"].reshape(4, 4))


def public_good(p: Any, b: Any) -> Any:
    given = jax.nn.sigmoid(value(p, b["s"])).reshape(2, 8)
    return -jnp.mean(
        jnp.log1p(given) - b["positive"].reshape(2, 8) * given**2 + 0.4 * given.sum(1, keepdims=True)
    )


def demand(p: Any, b: Any) -> Any:
    return jnp.mean((b["r"] - (value(p, b["s"]) - b["positive"] * scores(p, b["s"])[:, 0])) ** 2)


def effect_of_a_treatment(p: Any, b: Any) -> Any:
    both = scores(p, b["s"])
    return jnp.mean((b["r"] - (both[:, 0] - b["done"] * both[:, 1])) ** 2)


def differential_equation(p: Any, b: Any) -> Any:
    u, slope = jax.jvp(lambda s: value(p, s), (b["s"],), (jnp.ones_like(b["s"]),))
    return jnp.mean((slope - b["positive"] * u - b["r"]) ** 2) + jnp.mean(
        (value(p, jnp.zeros((1, 3))) - 1) ** 2
    )


def growth(p: Any, b: Any) -> Any:
    then = value(p, b["s"] + 0.1) - (1 + b["positive"]) * value(p, b["s"]) - b["r"]
    return jnp.mean(then**2)


def integral_equation(p: Any, b: Any) -> Any:
    u = value(p, b["s"])
    return jnp.mean((u - 1 - jnp.cumsum(0.1 * (b["r"] - 0.8 * u))) ** 2)


def integral_in_a_loop(p: Any, b: Any) -> Any:
    u = value(p, b["s"])

    def step(total: Any, each: Any) -> Any:
        total = total + 0.1 * (each[0] - 0.8 * each[1])
        return total, total

    return jnp.mean((u - lax.scan(step, 1.0, (b["r"], u))[1]) ** 2)


def spread_of_its_own(p: Any, b: Any) -> Any:
    mu, log_sigma = scores(p, b["s"])[:, 0], scores(p, b["s"])[:, 1]
    z = (b["r"] - mu) * jnp.exp(-log_sigma)
    return jnp.mean(0.5 * z**2 + log_sigma) + 0.1 * jnp.mean((b["r"] - mu) ** 2)


def gated_regression(p: Any, b: Any) -> Any:
    gate = jax.nn.sigmoid(scores(p, b["s"])[:, 0])
    error = b["r"] - value(p, b["s"])
    return jnp.mean(gate * error) + jnp.mean((gate * error) ** 2) + 0.5 * jnp.mean(error**2)


def sparse_experts(p: Any, b: Any) -> Any:
    w = jax.nn.softmax(scores(p, b["s"]))
    experts = b["s"] @ np.linspace(-1, 1, 3 * K, dtype=np.float32).reshape(3, K)
    return -jnp.mean((w * experts).sum(-1)) - 0.01 * (w * jnp.log(w + 1e-8)).sum(-1).mean()


def labels_to_unlearn(p: Any, b: Any) -> Any:
    return -jnp.mean(taken(p, b) * jnp.where(b["done"], -0.2, 1.0)) + 0.1 * entropy(p, b).mean()


HEALTHY: list[Loss] = [
    soft_labels_masked_first,
    weighed_before_the_choice,
    confused_domains,
    outliers_beside_one_hot,
    total_return,
    public_good,
    demand,
    effect_of_a_treatment,
    differential_equation,
    growth,
    integral_equation,
    integral_in_a_loop,
    spread_of_its_own,
    gated_regression,
    sparse_experts,
    labels_to_unlearn,
    difference_equation,
    linear_dynamics,
    held_target,
    smoothness,
    boosted,
    centered,
    contrastive,
    label_smoothing,
    certain_on_unlabelled_rows,
    multiplier,
    offset_beside_a_network,
]


@pytest.mark.parametrize("loss", HEALTHY, ids=[each.__name__ for each in HEALTHY])
def test_what_only_looks_like_it_is_quiet(loss: Loss) -> None:
    assert found(loss) == []


def test_weights_that_are_all_one_make_no_difference_after_a_mean() -> None:
    assert found(weights_after_the_mean, {**BATCH, "positive": np.ones(N, np.float32)}) == []


def test_a_critic_whose_every_gradient_is_cut_has_a_dead_term() -> None:
    def loss(p: Any, b: Any) -> Any:
        advantage = b["r"] - lax.stop_gradient(jnp.tanh(b["next"] @ p["w"]))
        return -jnp.mean(taken(p, b) * advantage) + 0.5 * jnp.mean(advantage**2)

    params = {**PARAMS, "w": np.ones(3, np.float32)}
    terms = loss_terms(Tracer(Problem(loss, params, BATCH)).trace(BATCH))
    assert [term.detached for term in terms if term.parameters == ("w",)] == [False]


V, T = 9, 6
WORDS = {
    "table": RNG.normal(size=(V, 8)).astype(np.float32),
    "out": RNG.normal(size=(8, V)).astype(np.float32),
}
LENGTHS = RNG.integers(2, 4, N)
FILLED = np.where(np.arange(T + 1) < LENGTHS[:, None], RNG.integers(1, V, (N, T + 1)), 0)
X, Y = RNG.integers(0, V, (N, T)), RNG.integers(0, V, (N, T))


def cross_entropy(p: Any, x: Any, y: Any) -> Any:
    logits = jnp.tanh(p["table"][x]) @ p["out"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def trials(loss: Loss, batch: Any) -> Trials:
    tracer = Tracer(Problem(loss, WORDS, batch))
    return Trials(tracer.trace(batch), batch, tracer.inputs(batch, 0))


def labels_said(loss: Loss, batch: Any) -> list[Misdirection]:
    return [each.kind for each in counted_labels(trials(loss, batch))]


def every_label(p: Any, ids: Any) -> Any:
    return cross_entropy(p, ids[:, :-1], ids[:, 1:]).mean()


def masked(sign: bool) -> Loss:
    def loss(p: Any, ids: Any) -> Any:
        mask = (ids[:, 1:] != 0) == sign
        return jnp.sum(cross_entropy(p, ids[:, :-1], ids[:, 1:]) * mask) / mask.sum()

    return loss


def test_fillers_that_count_are_told_from_fillers_that_do_not() -> None:
    assert labels_said(every_label, FILLED) == [Misdirection.FILLERS]
    assert labels_said(masked(False), FILLED) == [Misdirection.ONLY_FILLERS]
    assert labels_said(masked(True), FILLED) == []


def sequences(p: Any, b: Any) -> Any:
    return cross_entropy(p, b["x"], b["y"]).mean()


def weighed_sequences(p: Any, b: Any) -> Any:
    return jnp.sum(cross_entropy(p, b["x"], b["y"]) * b["w"]) / b["w"].sum()


ENDED = np.arange(T) >= LENGTHS[:, None]
ENDING = {"x": X, "y": np.where(ENDED, 0, RNG.integers(1, V, (N, T)))}


def test_labels_that_end_alike_are_fillers_only_where_another_array_says_so() -> None:
    assert labels_said(sequences, ENDING) == []
    assert labels_said(weighed_sequences, {**ENDING, "w": ENDED.astype(np.float32)}) == []
    assert labels_said(sequences, {**ENDING, "x": np.where(ENDED, 0, X)}) == [Misdirection.FILLERS]
    unused = {**ENDING, "w": (~ENDED).astype(np.float32)}
    assert labels_said(lambda p, b: sequences(p, b) + 0 * b["w"].sum(), unused) == [Misdirection.FILLERS]
    assert labels_said(lambda p, b: sequences(p, b) + 0 * b["n"].sum(), {**ENDING, "n": LENGTHS}) == [
        Misdirection.FILLERS
    ]


def test_a_class_that_is_kept_for_labels_below_zero_is_theirs() -> None:
    free = X % (V - 1), np.where(RNG.random((N, T)) < 0.5, Y % (V - 1), -1)
    assert labels_said(lambda p, b: cross_entropy(p, *b).mean(), free) == []


def test_labels_below_zero_are_told_where_no_mask_leaves_them_out() -> None:
    batch = X, np.where(RNG.random((N, T)) < 0.5, Y, -1)

    def wrapped(p: Any, b: Any) -> Any:
        return cross_entropy(p, *b).mean()

    def left_out(p: Any, b: Any) -> Any:
        return jnp.sum(cross_entropy(p, *b) * (b[1] >= 0)) / (b[1] >= 0).sum()

    assert labels_said(wrapped, batch) == [Misdirection.NEGATIVE]
    assert labels_said(left_out, batch) == []


def test_labels_that_were_flattened_in_the_other_order_belong_to_other_rows() -> None:
    def flat(turned: bool) -> Loss:
        def loss(p: Any, b: Any) -> Any:
            logits = (jnp.tanh(p["table"][b[0].T]) @ p["out"]).reshape(-1, V)
            labels = (b[1].T if turned else b[1]).reshape(-1)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        return loss

    (only,) = labels_of_others(trials(flat(False), (X, Y)))
    assert (only.kind, only.count) == (Misdirection.OTHER_ROWS, N)
    assert list(labels_of_others(trials(flat(True), (X, Y)))) == []
