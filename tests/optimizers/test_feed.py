"""What each step is given: kept or drawn again, the same batches in the same order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers import feed as feeds
from gradscope.optimizers.compare import compare
from gradscope.optimizers.feed import feed_of, keep, repeat, table_of
from gradscope.records import Comparison
from gradscope.records.options import CompareOptions
from tests.optimizers.problems import mlp, quadratic

PARAMS = {"x": np.ones(3, np.float32)}


def loss(params: Any, batch: Any) -> Any:
    return jnp.sum((params["x"] - batch) ** 2)


def numbered(count: int, first: int = 0) -> list[Any]:
    return [np.full(3, number, np.float32) for number in range(first, first + count)]


def fed(steps: Any) -> list[float]:
    return [float(others[0][0]) for others in steps]


def compared(problem: Problem, *names: str, **terms: Any) -> Comparison:
    options = CompareOptions(**{"optimizers": names, "steps": 25, "seeds": 2, "grid": 3, **terms})
    return compare(problem.reseeded, options, 0, lambda stage: None)


def test_a_pass_that_ends_is_followed_by_the_next() -> None:
    feed = feed_of(Problem(loss, PARAMS, batches=numbered(3)), 0)
    assert fed(feed.steps(7)) == [0, 1, 2, 0, 1, 2, 0]
    assert fed(feed.steps(7, first=5)) == [2, 0]
    assert feed.batches_per_pass == 3


def test_what_is_kept_is_what_is_drawn() -> None:
    feed = feed_of(mlp().reseeded(3), 3)
    drawn = [jax.tree.map(np.asarray, others) for others in feed.steps(9)]
    assert keep([feed], 9)
    for others, before in zip(feed.steps(9), drawn, strict=True):
        assert all(map(np.array_equal, others, before))


def test_batches_that_come_again_are_kept_once() -> None:
    problem = Problem(loss, PARAMS, batches=numbered(2))
    several = [feed_of(problem.reseeded(seed), seed) for seed in (0, 1)]
    assert keep(several, 10)
    table = table_of(several)
    batches, keys = table.columns
    assert batches.shape == (2, 3), "two batches, in twenty steps of two seeds"
    assert len(keys) == 1, "no key is made, since nobody reads it"
    for place, feed in enumerate(several):
        for step, others in enumerate(feed.steps(10)):
            at = table.chunk(step, 1)[place, 0]
            assert np.array_equal(batches[at[0]], others[0])
            assert np.array_equal(keys[at[1]], others[1])


def test_beyond_the_end_a_chunk_repeats_the_last_step() -> None:
    feed = feed_of(Problem(loss, PARAMS, batches=numbered(5)), 0)
    keep([feed], 5)
    assert table_of([feed]).chunk(3, 4)[0, :, 0].tolist() == [3, 4, 4, 4]


def test_all_seeds_are_kept_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    several = [feed_of(mlp().reseeded(seed), seed) for seed in (0, 1)]
    one = sum(leaf.nbytes for others in several[0].steps(4) for leaf in others)
    monkeypatch.setattr(feeds, "free_memory", lambda: int(1.5 * one / feeds.KEPT_SHARE))
    assert not keep(several, 4)
    assert [feed.kept for feed in several] == [None, None]
    assert keep(several[:1], 4)


def test_streamed_batches_give_the_runs_that_kept_ones_give(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = compared(mlp(), "sgd", "adam", steps=30)
    monkeypatch.setattr(feeds, "free_memory", lambda: 0)
    streamed = compared(mlp(), "sgd", "adam", steps=30)
    assert streamed.engine == "step: the batches do not fit in memory together and are streamed"
    for mine, other in zip(streamed.contestants, kept.contestants, strict=True):
        assert mine.learning_rate == other.learning_rate
        assert mine.final_loss == pytest.approx(other.final_loss, rel=1e-3)
        assert [len(t.losses) for t in mine.trials] == [len(t.losses) for t in other.trials]


def test_a_generator_without_an_end_is_drawn_from_as_far_as_needed() -> None:
    drawn: list[int] = []

    def batches() -> Iterator[Any]:
        for number in itertools.count():
            drawn.append(number)
            yield np.full(3, number % 5, np.float32)

    found = compared(Problem(loss, PARAMS, batches=batches), "sgd", steps=22, seeds=1)
    assert found.steps == 22
    assert max(drawn) <= 22


def test_batches_that_end_for_good_are_refused() -> None:
    supply = iter([numbered(2)])
    problem = Problem(loss, PARAMS, batches=lambda: next(supply, iter(())))
    with pytest.raises(GradscopeError, match="ended after 0 of 25 ") as caught:
        compared(problem, "sgd")
    assert caught.value.slug == "batches-ended"


def test_an_iterator_that_can_be_walked_once_is_kept_and_walked_again() -> None:
    found = compared(Problem(loss, PARAMS, batches=iter(numbered(3))), "sgd", seeds=1)
    assert found.steps == 25


def test_batches_of_another_shape_are_left_out_and_that_is_told() -> None:
    batches = [*numbered(2), np.zeros(1, np.float32)]
    found = compared(Problem(loss, PARAMS, batches=batches), "sgd", steps=20, seeds=1)
    assert any("9 of 29 batches were skipped" in reason for reason in found.reasons)


def test_a_batch_with_another_python_value_does_not_fit_the_program_either() -> None:
    def scaled(params: Any, batch: Any) -> Any:
        rows, task = batch
        return loss(params, rows) * (1.0 if task == 0 else 2.0)

    rows = np.ones(3, np.float32)
    feed = feed_of(Problem(scaled, PARAMS, batches=[(rows, 0), (2 * rows, 1)]), 0)
    assert fed(feed.steps(3)) == [1, 1, 1]
    assert feed.other_forms == 2


def test_a_stream_in_which_no_shape_comes_again_ends_with_an_error() -> None:
    def batches() -> Iterator[Any]:
        yield np.zeros(3, np.float32)
        while True:
            yield np.zeros(1, np.float32)

    with pytest.raises(GradscopeError, match="differ from the first in shape") as caught:
        compared(Problem(loss, PARAMS, batches=batches), "sgd")
    assert caught.value.slug == "batches-differ"


def feeds_of(problem: Problem, steps: int = 4) -> list[feeds.Feed]:
    several = [feed_of(problem.reseeded(seed), seed) for seed in (0, 1)]
    assert keep(several, steps)
    return several


def with_key(params: Any, batch: Any, key: Any) -> Any:
    return loss(params, batch) + jax.random.normal(key)


ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize(
    ("problem", "same"),
    [
        (lambda: Problem(loss, PARAMS, numbered(1)[0]), True),
        (lambda: Problem(loss, PARAMS, batches=lambda: numbered(3)), True),
        (lambda: Problem(loss, PARAMS, data=ROWS, batch_size=4), True),  # all rows, in another order
        (lambda: Problem(loss, PARAMS, data=ROWS, batch_size=2), False),
        (lambda: Problem(loss, PARAMS, data=np.tile(ROWS, (4, 1)), batch_size=9), False),
        (lambda: Problem(with_key, PARAMS, numbered(1)[0]), False),
        (quadratic, False),  # another start
    ],
)
def test_it_is_seen_where_every_seed_gives_the_same_run(problem: Any, same: bool) -> None:
    assert repeat(feeds_of(problem())) is same


def test_the_loss_may_close_over_its_data() -> None:
    found = compared(Problem(lambda p: loss(p, ROWS[0]), PARAMS), "sgd", "adam", steps=20)
    assert found.seeds == (0,)
    assert found.contestants[0].final_loss < found.initial_loss


def test_what_a_generator_raises_is_the_users_error() -> None:
    def batches() -> Iterator[Any]:
        yield ROWS
        raise KeyError("shard 7")

    with pytest.raises(GradscopeError, match="shard 7"):
        compared(Problem(loss, PARAMS, batches=batches, optimizer=optax.sgd(0.1)), "sgd")


def test_another_seed_leaves_out_what_the_program_of_the_first_was_not_made_for() -> None:
    rows = {0: (2, 1), 1: (1, 2)}
    problems = {
        seed: Problem(loss, PARAMS, batches=[np.ones((count, 3), np.float32) for count in counts])
        for seed, counts in rows.items()
    }
    first = feed_of(problems[0], 0)
    second = feed_of(problems[1], 1, first)
    assert [others[0].shape for others in second.steps(3)] == [(2, 3)] * 3
    assert second.other_forms == 3
