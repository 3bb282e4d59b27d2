"""Central differences against derivatives that are known exactly, and their own estimate of the error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradscope.verification.gradient.finite_difference import RATIO, Estimate, Limit, Line, estimate

Function = Callable[[float], float]
EPS = float(np.finfo(np.float64).eps)


def line(f: Function, x: float, widest: float, count: int = 3, noise: float | None = None) -> Line:
    steps = widest / RATIO ** np.arange(count)
    rounding = EPS * max(abs(f(x)), 1.0) if noise is None else noise
    ahead, behind = (np.array([f(x + sign * h) for h in steps]) for sign in (1, -1))
    return Line(f(x), rounding, steps, ahead, behind)


def seen(f: Function, x: float, widest: float = 1e-3, count: int = 3, noise: float | None = None) -> Estimate:
    return estimate(line(f, x, widest, count, noise))


@pytest.mark.parametrize("x", [-1.3, 0.2, 0.9])
@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (np.sin, np.cos),
        (np.exp, np.exp),
        (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        (lambda x: x**5, lambda x: 5 * x**4),
        (lambda x: np.log1p(np.exp(30 * x)), lambda x: 30 / (1 + np.exp(-30 * x))),
        (lambda x: 1e6 + x, lambda x: 1.0),
        (lambda x: 1e-9 * np.sin(x), lambda x: 1e-9 * np.cos(x)),
    ],
)
@pytest.mark.parametrize("widest", [1e-1, 1e-3, 1e-5])
def test_the_error_stays_within_its_estimate(f: Function, slope: Function, x: float, widest: float) -> None:
    found = seen(f, x, widest, noise=EPS * abs(f(x)))
    assert abs(found.value - slope(x)) <= 3 * found.uncertainty + EPS * abs(slope(x))


def test_extrapolation_is_closer_than_the_plain_differences() -> None:
    found = seen(np.sin, 1.0, widest=0.3)
    plain = (np.sin(1 + 0.3 / 16) - np.sin(1 - 0.3 / 16)) / (0.6 / 16)
    assert abs(found.value - np.cos(1.0)) < 1e-3 * abs(plain - np.cos(1.0))


@pytest.mark.parametrize("share", np.linspace(0.0, 1.2, 61))
@pytest.mark.parametrize("side", [1, -1])
def test_no_place_of_a_kink_makes_a_wrong_value_look_sure(share: float, side: int) -> None:
    """The kink stands at a share of the widest step; backpropagation says 1, the slope at the point."""
    at = side * share * 1e-3
    found = seen(lambda x: x + 5 * max(side * (x - at), 0.0), 0.0)
    truth = 1.0 if share else None
    if truth is None:
        assert found.uncertainty > 2
        assert found.limit is Limit.KINK
    else:
        assert abs(found.value - truth) <= 3 * found.uncertainty + 1e-9


def test_a_finer_step_resolves_a_kink_close_by() -> None:
    def f(x: float) -> float:
        return x + 5 * max(x - 1e-6, 0.0)

    assert seen(f, 0.0).uncertainty > 0.1
    assert seen(f, 0.0, count=9).uncertainty < 1e-6


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-9])
def test_noise_is_in_the_estimate(noise: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = seen(lambda x: np.sin(x) + noise * rng.standard_normal(), 0.5, widest=0.3, noise=noise)
    assert abs(found.value - np.cos(0.5)) <= 3 * found.uncertainty
    assert found.uncertainty < 100 * noise + 1e-3


def test_the_limit_says_what_to_change() -> None:
    assert seen(lambda x: 1e8 + x, 0.0, widest=1e-6, noise=1e-8).limit is Limit.ROUNDING
    assert seen(lambda x: np.exp(300 * x), 0.0, widest=1e-2).limit is Limit.TRUNCATION
    assert seen(abs, 0.0).limit is Limit.KINK


def test_losses_that_are_not_finite_make_it_unsure() -> None:
    assert seen(lambda x: np.inf if x > 0 else 0.0, 0.0).uncertainty == np.inf
    assert seen(lambda x: np.nan, 0.0).uncertainty == np.inf
    assert seen(lambda x: np.nan if x > 5e-4 else x, 0.0).value == pytest.approx(1.0)


def test_lines_join_into_one_ladder() -> None:
    wide, fine = line(np.sin, 0.4, 1e-2), line(np.sin, 0.4, 1e-2 / RATIO**3)
    joined = fine.joined(wide)
    assert np.array_equal(joined.steps, line(np.sin, 0.4, 1e-2, 6).steps)
    assert estimate(joined).uncertainty <= min(estimate(wide).uncertainty, estimate(fine).uncertainty)


def test_a_constant_loss_is_flat_and_one_that_jumps_has_a_quantum() -> None:
    assert line(lambda x: 2.0, 0.0, 1e-3).is_flat
    steps = line(lambda x: np.floor(x * 2000), 0.0001, 1e-3)
    assert not steps.is_flat
    assert steps.quantum == 1.0
    assert line(np.sin, 0.3, 1e-3).quantum == 0.0
