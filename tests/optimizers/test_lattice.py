"""Which settings are tried, by a loss whose lowest point is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from gradscope.optimizers.lattice import TrialSetting, edges, grid_around, lowest, next_setting, settings_of

Loss = Callable[[TrialSetting], float]


def bowl(rate: float, decay: float | None = None) -> Loss:
    """Lowest at that rate, and at that decay."""

    def loss(setting: TrialSetting) -> float:
        off = math.log10(setting.rate / rate) ** 2
        return off + (0.0 if decay is None else (setting.decay - decay) ** 2)

    return loss


def searched(
    loss: Loss, usual: float, decay: float | None, grid: int = 5
) -> tuple[TrialSetting, list[TrialSetting]]:
    tried = [TrialSetting(rate, decay) for rate in grid_around(usual, grid)]
    for left in range(settings_of(grid) - grid, 0, -1):
        further = next_setting(tried, {each: loss(each) for each in tried}, left)
        assert further is not None
        tried.append(further)
    return lowest({each: loss(each) for each in tried}), tried


def test_an_optimizer_with_a_decay_has_as_many_settings_as_one_without() -> None:
    _, one = searched(bowl(1e-3), 1e-3, None)
    _, other = searched(bowl(1e-3, 0.1), 1e-3, 1e-4)
    assert len(one) == len(other) == len(set(one)) == len(set(other)) == 12


def test_rate_and_decay_are_found_together() -> None:
    best, _ = searched(bowl(3e-3, 1.0), 1e-3, 1e-4)
    assert best == TrialSetting(0.0032, 1.0)
    assert searched(bowl(1e-3, 0.0), 1e-3, 1e-4)[0] == TrialSetting(1e-3, 0.0)


def test_without_a_decay_the_settings_go_into_a_finer_rate() -> None:
    best, _ = searched(bowl(1.8e-3), 1e-3, None)
    assert best == TrialSetting(0.0018)


def test_a_rate_at_the_edge_is_followed() -> None:
    best, tried = searched(bowl(0.1), 1e-3, None)
    assert best.rate == pytest.approx(0.1)
    assert edges(best, tried) == ()


def test_where_everything_diverges_rates_fall_by_decades() -> None:
    def loss(setting: TrialSetting) -> float:
        return math.inf if setting.rate > 1e-6 else 1.0

    best, _ = searched(loss, 1e-1, None)
    assert best.rate <= 1e-6


@pytest.mark.parametrize("decay", [None, 1e-4])
def test_what_ten_times_more_and_less_lose_is_always_tried(decay: float | None) -> None:
    best, tried = searched(bowl(1.8e-3, decay), 1e-3, decay)
    rates = [setting.rate for setting in tried]
    assert min(rates) <= 0.105 * best.rate
    assert max(rates) >= 9.5 * best.rate


def test_the_edge_is_told_and_a_decay_of_zero_is_none() -> None:
    rates = [TrialSetting(1.0, 0.1), TrialSetting(2.0, 0.1), TrialSetting(3.0, 0.1)]
    assert edges(rates[2], rates) == ("rate", "untried-decay")
    assert edges(rates[1], [*rates, TrialSetting(2.0, 0.0)]) == ("decay",)
    assert edges(TrialSetting(2.0, 0.0), [*rates, TrialSetting(2.0, 0.0)]) == ()
    assert edges(TrialSetting(2.0), [TrialSetting(1.0), TrialSetting(2.0), TrialSetting(3.0)]) == ()
    assert edges(TrialSetting(1.0), [TrialSetting(1.0)]) == ()
