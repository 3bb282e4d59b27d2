"""Rewards and ends of episodes that a loss makes the wrong use of, by names and by what it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.rewards import misused_rewards
from gradscope.records import MisdirectedCredit, Misdirection, Severity
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer

B, T, F, A = 32, 6, 5, 3
RNG = np.random.default_rng(0)
GAMMA = 0.9


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


PARAMS = {"h": normal(F, 8) / 2, "v": normal(8) / 3, "q": normal(8, A) / 3}
DONE = (RNG.random(B) < 0.1).astype(np.float32)


class Step(NamedTuple):
    obs: Any
    action: Any
    reward: Any
    terminal: Any
    after: Any


STEP = Step(normal(B, F), RNG.integers(0, A, B), normal(B), DONE, normal(B, F))
EPISODES = {"obs": normal(B, T, F), "action": RNG.integers(0, A, (B, T)), "rewards": normal(B, T)}


def value(p: Any, x: Any) -> Any:
    return jnp.tanh(x @ p["h"]) @ p["v"]


def actions(p: Any, x: Any) -> Any:
    return jnp.tanh(x @ p["h"]) @ p["q"]


def log_taken(p: Any, x: Any, action: Any) -> Any:
    log_pi = jax.nn.log_softmax(actions(p, x))
    return jnp.take_along_axis(log_pi, action[..., None], -1)[..., 0]


def found(loss: Any, batch: Any) -> list[MisdirectedCredit]:
    tracer = Tracer(Problem(loss, PARAMS, batch))
    return list(misused_rewards(tracer.trace(batch), loss, batch, [tracer.inputs(batch)]))


def of_a_tuple(p: Any, batch: Any) -> Any:
    obs, _, reward, done, after = batch
    del done
    error = lax.stop_gradient(reward + GAMMA * value(p, after)) - value(p, obs)
    return 0.5 * jnp.mean(error**2)


def of_actions(p: Any, batch: Step) -> Any:
    taken = jnp.take_along_axis(actions(p, batch.obs), batch.action[:, None], 1)[:, 0]
    target = batch.reward + actions(p, batch.after).max(1) * GAMMA
    return jnp.mean(optax.huber_loss(taken, lax.stop_gradient(target)))


def through_the_target(p: Any, batch: Step) -> Any:
    return jnp.mean((value(p, batch.obs) - batch.reward - GAMMA * value(p, batch.after)) ** 2)


@pytest.mark.parametrize(
    ("loss", "batch", "name"),
    [
        (of_a_tuple, tuple(STEP), "done"),
        (of_actions, STEP, "terminal"),
        (through_the_target, STEP, "terminal"),
        (lambda p, b: of_actions(p, Step(**b)), STEP._asdict(), "terminal"),
    ],
    ids=["unpacked", "field", "gradient", "key"],
)
def test_a_value_that_is_drawn_to_what_comes_after_the_end(loss: Any, batch: Any, name: str) -> None:
    (record,) = found(loss, batch)
    assert (record.kind, record.name) == (Misdirection.UNENDED, name)
    assert (record.count, record.discount) == (int(DONE.sum()), pytest.approx(GAMMA))
    other = jax.tree.map(lambda leaf: leaf, STEP)._replace(terminal=1 - DONE)
    same = tuple(other) if type(batch) is tuple else other._asdict() if isinstance(batch, dict) else other
    assert loss(PARAMS, batch) == loss(PARAMS, same), "what the record says"


def ends_by_a_product(p: Any, b: Step) -> Any:
    target = b.reward + GAMMA * (1 - b.terminal) * value(p, b.after)
    return jnp.mean((lax.stop_gradient(target) - value(p, b.obs)) ** 2)


def ends_by_a_choice(p: Any, b: Step) -> Any:
    later = jnp.where(b.terminal > 0, 0.0, value(p, b.after))
    return jnp.mean((lax.stop_gradient(b.reward + GAMMA * later) - value(p, b.obs)) ** 2)


def without_the_rows_that_end(p: Any, b: Step) -> Any:
    error = lax.stop_gradient(b.reward + GAMMA * value(p, b.after)) - value(p, b.obs)
    return jnp.mean((1 - b.terminal) * error**2)


def to_returns(p: Any, b: Step) -> Any:
    return jnp.mean((b.reward - value(p, b.obs)) ** 2)


@pytest.mark.parametrize("loss", [ends_by_a_product, ends_by_a_choice, without_the_rows_that_end, to_returns])
def test_an_end_that_is_read_and_a_value_without_a_next_one_are_quiet(loss: Any) -> None:
    assert found(loss, STEP) == []


def test_a_task_without_ends_and_an_array_with_another_name_are_quiet() -> None:
    assert found(of_actions, STEP._replace(terminal=np.zeros(B, np.float32))) == []
    other = {"obs": STEP.obs, "reward": STEP.reward, "explored": DONE, "after": STEP.after}

    def loss(p: Any, b: Any) -> Any:
        error = lax.stop_gradient(b["reward"] + GAMMA * value(p, b["after"])) - value(p, b["obs"])
        return jnp.mean(error**2)

    assert found(loss, other) == []


def summed(rewards: Any, **way: Any) -> Any:
    def add(total: Any, reward: Any) -> Any:
        total = reward + GAMMA * total
        return total, total

    return lax.scan(add, jnp.zeros(B), rewards.T, **way)[1].T


Sums = Callable[[Any], Any]


def weighed_by(sums: Sums) -> Any:
    def loss(p: Any, batch: Any) -> Any:
        returns = sums(batch["rewards"])
        scaled = (returns - returns.mean()) / (returns.std() + 1e-8)
        return -jnp.mean(scaled * log_taken(p, batch["obs"], batch["action"]))

    return loss


def test_rewards_before_an_action_are_told_with_their_line() -> None:
    (record,) = found(weighed_by(summed), EPISODES)
    assert (record.kind, record.name, record.count) == (Misdirection.PAST, "rewards", T)
    assert record.discount == pytest.approx(GAMMA)
    assert record.source is not None
    assert "lax.scan(add" in record.source.text


@pytest.mark.parametrize(
    "sums",
    [
        lambda rewards: summed(rewards, reverse=True),
        lambda rewards: summed(rewards[:, ::-1])[:, ::-1],
        lambda rewards: summed(rewards, reverse=True) - 0.1 * summed(rewards),
        lambda rewards: rewards,
        lambda rewards: rewards.sum(1, keepdims=True) - summed(rewards) + rewards,
        lambda rewards: rewards - 0.1 * summed(rewards),
    ],
    ids=["reverse", "turned twice", "beside returns to go", "rewards alone", "all less the past", "baseline"],
)
def test_rewards_after_an_action_are_quiet(sums: Sums) -> None:
    assert found(weighed_by(sums), EPISODES) == []


def test_a_running_mean_of_something_else_is_quiet() -> None:
    other = {**EPISODES, "price": EPISODES["rewards"]}

    def loss(p: Any, batch: Any) -> Any:
        return -jnp.mean(summed(batch["price"]) * log_taken(p, batch["obs"], batch["action"]))

    assert found(loss, other) == []


def descends(p: Any, b: Step) -> Any:
    log_p = log_taken(p, b.obs, b.action)
    return jnp.mean((b.reward - b.reward.mean()) * log_p)


def descends_by_two_signs(p: Any, b: Step) -> Any:
    log_prob = log_taken(p, b.obs, b.action)
    adv = lax.stop_gradient(b.reward - value(p, b.obs))
    return -jnp.mean(-adv * log_prob) + 0.5 * jnp.mean((b.reward - value(p, b.obs)) ** 2)


def ascends(p: Any, b: Step) -> Any:
    log_p = log_taken(p, b.obs, b.action)
    return -jnp.mean((b.reward - b.reward.mean()) * log_p)


def ascends_by_cross_entropy(p: Any, b: Step) -> Any:
    log_loss = -log_taken(p, b.obs, b.action)
    return jnp.mean(b.reward * log_loss)


def keeps_a_cost_small(p: Any, b: Step) -> Any:
    cost = b.reward
    log_p = log_taken(p, b.obs, b.action)
    return jnp.mean(cost * log_p)


def of_a_gain_turned_over(p: Any, b: Step) -> Any:
    advantage = b.reward.mean() - b.reward
    log_p = log_taken(p, b.obs, b.action)
    return jnp.mean(advantage / (advantage.std() + 1e-8) * log_p)


def test_an_advantage_that_is_made_of_costs_is_quiet() -> None:
    def loss(p: Any, batch: Any) -> Any:
        adv = batch["cost"] - batch["cost"].mean()
        log_p = log_taken(p, batch["obs"], batch["action"])
        return jnp.mean(adv * log_p)

    assert found(loss, {**EPISODES, "cost": EPISODES["rewards"]}) == []


def test_a_loss_that_grows_with_the_reward_is_told() -> None:
    for loss, name in ((descends, "reward"), (descends_by_two_signs, "adv")):
        (record,) = found(loss, STEP)
        assert (record.kind, record.name) == (Misdirection.DESCENDED, name)


@pytest.mark.parametrize(
    "loss", [ascends, ascends_by_cross_entropy, keeps_a_cost_small, of_a_gain_turned_over]
)
def test_a_loss_that_falls_with_the_reward_or_grows_with_a_cost_is_quiet(loss: Any) -> None:
    assert found(loss, STEP) == []


def test_it_is_a_warning_and_none_where_the_optimizer_climbs() -> None:
    def told(optimizer: Any) -> list[Any]:
        report = check_loss(descends, PARAMS, STEP, optimizer=optimizer, select=["misdirected-credit"])
        assert not [each for each in report.skipped if "itself" in each.reason]
        return list(report.findings)

    (finding,) = told(optax.sgd(1e-2))
    assert finding.severity is Severity.WARNING
    assert "The loss grows with log-probabilities (`q`) times `reward`" in finding.message
    assert told(optax.sgd(-1e-2)) == []
