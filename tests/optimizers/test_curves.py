"""What is read from loss curves: on small curves by hand, and the statistics by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from gradscope.optimizers.curves import (
    chance_of_equals,
    crossing,
    end_of,
    lost_at,
    median,
    profile_scores,
    smoothed,
    ties,
    tolerant_decades,
    window_of,
)

INF, NAN = math.inf, math.nan
LOSSES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40)


def test_the_window_is_a_tenth_of_the_run_and_never_empty() -> None:
    assert [window_of(steps) for steps in (1, 9, 20, 200)] == [1, 1, 2, 20]


@given(LOSSES, st.integers(1, 12))
def test_smoothing_is_the_mean_over_what_the_window_holds(losses: list[float], window: int) -> None:
    slow = [np.mean(losses[max(0, i + 1 - window) : i + 1]) for i in range(len(losses))]
    assert smoothed(losses, window) == pytest.approx(slow, abs=1e-9)


@given(LOSSES, st.integers(1, 5), st.floats(-1e3, 1e3))
def test_the_crossing_is_the_first_step_whose_mean_is_at_the_target(
    losses: list[float], window: int, target: float
) -> None:
    means = smoothed(losses, window)
    below = [step + 1 for step, mean in enumerate(means) if mean <= target]
    assert crossing(losses, window, target) == (below[0] if below else INF)


def test_a_run_that_died_ends_nowhere_and_misses_even_what_it_had_reached() -> None:
    died = [3.0, 1.0, 0.5, NAN, 0.1]
    assert smoothed(died, 1).tolist() == [3.0, 1.0, 0.5, INF, INF]
    assert end_of(died, 2) == INF
    assert crossing(died, 1, 1.0) == INF
    assert end_of([], 2) == INF


def test_the_median_counts_a_miss_as_infinite_and_never_as_missing() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([1.0, 2.0]) == 1.5
    assert median([1.0, INF, 2.0]) == 2.0
    assert median([1.0, INF]) == INF
    assert median([INF, INF]) == INF


def simulated(rng: np.random.Generator, rows: int, seeds: int) -> list[dict[int, float]]:
    """Equal optimizers: a difficulty of each seed that all share, and noise of their own; lowest first."""
    losses = 10.0 + 2.0 * rng.normal(size=seeds) + rng.normal(size=(rows, seeds))
    return [dict(enumerate(row)) for row in sorted(losses.tolist(), key=np.median)]


@pytest.mark.parametrize("seeds", [3, 5])
def test_of_2000_equal_pairs_at_most_one_in_twenty_is_told_apart(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    told = sum(not all(ties(one, [two])) for one, two in (simulated(rng, 2, seeds) for _ in range(2000)))
    assert told <= 0.05 * 2000 + 2 * math.sqrt(2000 * 0.05 * 0.95)
    assert told > 20, "the test can say that two differ"


@pytest.mark.parametrize("seeds", [3, 5])
def test_among_seven_equals_no_winner_is_named_and_few_tables_show_a_difference(seeds: int) -> None:
    rng = np.random.default_rng(0)
    tables = [(first, others) for first, *others in (simulated(rng, 7, seeds) for _ in range(300))]
    found = [ties(first, others) for first, others in tables]
    assert not [marks for marks in found if not any(marks)]
    # The first is the best of seven by luck, which no paired test knows of: somewhat more than 5 %.
    assert sum(not all(marks) for marks in found) <= 0.12 * 300


def test_a_real_difference_is_told_from_five_seeds() -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(200):
        shared = rng.normal(size=5)
        rows = [dict(enumerate(shared + gap + 0.1 * rng.normal(size=5))) for gap in (0, *[1.0] * 6)]
        found += not any(ties(rows[0], rows[1:]))
    assert found >= 180


def test_pairing_by_seed_takes_out_what_all_share() -> None:
    shared = {0: 1.0, 1: 5.0, 2: 9.0, 3: 13.0}
    second = {seed: loss * (1.1 + 0.001 * seed) for seed, loss in shared.items()}
    assert ties(shared, [second]) == [False]


def test_near_zero_orders_of_magnitude_count_and_not_the_worst_seed() -> None:
    first, second = (
        dict(enumerate([1e-6, 3e-6, 1e-6, 2e-6, 2e-6])),
        dict(enumerate([1e-4, 9e-3, 2e-4, 1e-4, 3e-4])),
    )
    assert ties(first, [second]) == [False]
    shifted = [{seed: loss - 1.0 for seed, loss in each.items()} for each in (first, second)]
    assert ties(shifted[0], shifted[1:]) == [True], "a loss that may be negative has no ratios"


@given(st.integers(0, 10_000), st.floats(1e-6, 1e6))
def test_the_chance_does_not_move_with_the_scale_of_the_loss(seed: int, scale: float) -> None:
    one, two = (dict(enumerate(row)) for row in np.random.default_rng(seed).uniform(0.5, 2.0, (2, 3)))
    scaled = [{seed: loss * scale for seed, loss in each.items()} for each in (one, two)]
    assert chance_of_equals(*scaled) == pytest.approx(chance_of_equals(one, two), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "tied"),
    [
        ({0: 1.0}, {0: 9.0}, True),  # one seed shows no noise
        ({0: 1.0, 1: 2.0}, {5: 9.0, 6: 9.0}, True),  # nothing to pair
        ({0: 1.0, 1: 2.0}, {0: INF, 1: INF}, False),  # the second never arrives
        ({0: 1.0, 1: 2.0}, {0: INF, 1: 2.5}, True),
        ({0: INF, 1: INF}, {0: INF, 1: INF}, True),
        ({0: 1.0, 1: 2.0}, {0: 1.0 + 1e-8, 1: 2.0 + 1e-8}, True),  # rounding
        ({0: -1.0, 1: -2.0}, {0: -0.5, 1: -1.5}, False),  # the same gap at every seed
        ({0: 1.0, 1: 2.0}, {0: 1.1, 1: 2.2}, False),  # the same ratio
        ({0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.0, 1: 2.0, 2: 3.0}, True),
    ],
)
def test_what_is_a_tie_at_the_edges(first: dict[int, float], second: dict[int, float], tied: bool) -> None:
    assert ties(first, [second]) == [tied]


def test_the_chance_is_that_of_the_paired_t_test() -> None:
    # Differences 1, 2, 3: t = 2 / (1 / sqrt(3)) = 3.46 with 2 degrees of freedom; by a table p = 0.0742.
    by_hand = pytest.approx(0.0742, abs=1e-4)
    assert chance_of_equals({0: 0, 1: 0, 2: 0}, {0: 1.0, 1: 2.0, 2: 3.0}) == by_hand
    powers = {seed: math.exp(seed + 1) for seed in range(3)}
    assert chance_of_equals({0: 1.0, 1: 1.0, 2: 1.0}, powers) == by_hand, "ratios e, e^2, e^3"


def test_nobody_to_compare_with_is_no_tie() -> None:
    assert ties({0: 1.0, 1: 2.0}, []) == []


ENDS = {0.001: 1.5, 0.01: 1.0, 0.1: 1.0, 1.0: INF}


def test_decades_within_tolerance_are_counted_both_ways_from_the_best() -> None:
    # Start 2, best 1: the limit is 1.1. Up to 0.1 a decade; down to 0.001 a fifth of one (0.1 of 0.5).
    assert tolerant_decades(ENDS, 0.01, 2.0)[0] == pytest.approx(1.2)
    assert tolerant_decades({0.01: 1.0}, 0.01, 2.0) == (0.0, True)
    assert tolerant_decades({0.01: 2.0, 0.1: 2.0}, 0.01, 2.0)[0] == 1.0, "no improvement, nothing to lose"


def test_where_the_loss_is_within_tolerance_at_an_end_there_may_be_more() -> None:
    assert tolerant_decades({0.001: 1.9, 0.01: 1.0, 0.1: 1.9}, 0.01, 2.0)[1] is False
    assert tolerant_decades({0.001: 1.0, 0.01: 1.0, 0.1: 1.9}, 0.01, 2.0)[1] is True
    assert tolerant_decades({0.001: 1.9, 0.01: 1.0, 0.1: 1.0}, 0.01, 2.0)[1] is True


def test_what_is_lost_ten_times_off_is_a_share_of_the_improvement() -> None:
    assert lost_at(ENDS, 0.01, 2.0, 0.1) == 0.5
    assert lost_at(ENDS, 0.01, 2.0, 10.0) == 0.0
    assert lost_at(ENDS, 0.1, 2.0, 10.0) == INF
    assert lost_at(ENDS, 0.001, 2.0, 0.1) is None, "not measured"
    between = {0.01: 0.0, 0.32: 1.0, 0.032: 0.5}
    assert lost_at(between, 0.01, 2.0, 10.0) == pytest.approx(0.375, abs=0.01), "halfway in the log"
    assert lost_at({0.01: 0.0, 0.032: 3.0, 0.32: INF}, 0.01, 2.0, 10.0) == INF
    assert lost_at({0.01: 0.0, 0.032: 1.0, 0.32: INF}, 0.01, 2.0, 10.0) is None
    assert lost_at({0.01: 2.0, 0.1: 2.5}, 0.01, 2.0, 10.0) is None, "nothing was gained"


def test_the_grid_is_found_again_although_its_rates_are_rounded() -> None:
    assert lost_at({0.0032: 1.0, 0.032: 1.5}, 0.0032, 2.0, 10.0) == 0.5


def integrated(times: dict[str, dict[int, float]], name: str) -> float:
    """The performance profile as its definition says, integrated on a fine grid."""
    seeds = list(times[name])
    ratios = [times[name][seed] / min(by[seed] for by in times.values()) for seed in seeds]
    grid = np.linspace(1, 4, 30_001)
    return float(np.mean([np.mean([ratio <= tau for ratio in ratios]) for tau in grid]))


def test_the_profile_score_is_the_integral_of_the_profile() -> None:
    times = {"a": {0: 1.0, 1: 2.0}, "b": {0: 3.0, 1: 1.0}, "c": {0: INF, 1: 9.0}}
    scores = profile_scores(times)
    assert scores["a"] == pytest.approx(integrated(times, "a"), abs=1e-3) == pytest.approx(5 / 6, abs=1e-3)
    assert scores["b"] == pytest.approx(integrated(times, "b"), abs=1e-3)
    assert scores["c"] == 0.0


def test_the_profile_score_is_zero_where_nobody_arrives() -> None:
    assert profile_scores({"a": {0: INF}, "b": {0: INF}}) == {"a": 0.0, "b": 0.0}
    assert profile_scores({"a": {}}) == {"a": 0.0}
