"""Lanczos, density and trace on matrices whose eigenvalues are known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.landscape.lanczos import Lanczos
from gradscope.landscape.pace import Pace
from gradscope.landscape.spectrum import Spectrum, density, trace_of

SIZE = 40
RNG = np.random.default_rng(0)
BASIS = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))[0]


def matrix(eigenvalues: Any) -> Any:
    return jnp.asarray(BASIS * np.asarray(eigenvalues) @ BASIS.T, jnp.float32)


def start(seed: int = 1, size: int = SIZE) -> Any:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(size), jnp.float32)


def spectrum(of: Any, steps: int = 80) -> Spectrum:
    first = start(9, of.shape[0])
    found = Spectrum(lambda v: of @ v, of.shape[0], (first, of @ first), steps)
    for _ in found.extend(start(1, of.shape[0]), Pace(1e3, lambda: 1e-9)):
        pass
    return found


def test_both_ends_are_found_within_their_errors() -> None:
    values = np.concatenate([[-3.0, 7.0], np.linspace(-1, 1, SIZE - 2)])
    found = spectrum(matrix(values))
    for which, truth in ((-1, 7.0), (0, -3.0)):
        end = found.end(which).eigenvalue
        assert end.converged
        assert abs(end.value - truth) <= end.error + 1e-5
        assert end.error < 0.01 * 7


def test_a_bound_covers_the_error_at_every_step_and_values_never_leave_the_spectrum() -> None:
    values = np.linspace(-2, 5, SIZE) ** 3
    of = matrix(values)
    run = Lanczos(lambda v: of @ v, start())
    for _ in range(12):
        run.step()
        ritz = run.ritz()
        nearest = np.abs(ritz.values[:, None] - values[None]).min(1)
        assert (nearest <= ritz.errors + 1e-3).all()
        assert ritz.values[-1] <= values.max() + 1e-3
        assert ritz.values[0] >= values.min() - 1e-3


def test_an_unconverged_end_is_told_as_such() -> None:
    end = spectrum(matrix(np.linspace(0, 1, SIZE) ** 0.3 + 1), steps=3).end(-1).eigenvalue
    assert not end.converged
    assert end.value <= 2


def test_eigenvalues_of_any_multiplicity_end_it_early() -> None:
    of = matrix([*[2.0] * 20, *[5.0] * 19, -1.0])
    run = Lanczos(lambda v: of @ v, start())
    while not run.ended:
        run.step()
    assert run.steps <= 4
    assert run.ritz().values[:3] == pytest.approx([-1, 2, 5], abs=1e-4)


def test_one_dimension_and_the_identity_are_exact_after_one_step() -> None:
    for of in (jnp.asarray([[4.0]]), 4 * jnp.eye(7)):
        end = spectrum(of).end(-1).eigenvalue
        assert end.value == pytest.approx(4)
        assert end.converged


def test_zero_is_told_as_zero() -> None:
    assert spectrum(jnp.zeros((5, 5))).zero
    assert not spectrum(1e-20 * jnp.eye(5)).zero


def test_a_scale_changes_all_numbers_by_that_scale_and_nothing_else() -> None:
    values = np.linspace(-1, 4, SIZE)
    small, large = (spectrum(matrix(values) * factor) for factor in (1e-6, 1e6))
    assert small.end(-1).eigenvalue.value * 1e12 == pytest.approx(large.end(-1).eigenvalue.value, rel=1e-4)
    assert small.end(0).eigenvalue.converged == large.end(0).eigenvalue.converged
    assert small.asymmetry == pytest.approx(large.asymmetry, abs=1e-5)


def test_asymmetry_is_seen_and_rounding_is_not() -> None:
    symmetric = matrix(np.linspace(-1, 4, SIZE))
    skew = jnp.asarray(np.triu(RNG.normal(size=(SIZE, SIZE)), 1), jnp.float32)
    assert spectrum(symmetric).asymmetry < 1e-5
    assert spectrum(symmetric + 0.5 * skew).asymmetry > 0.2


def test_the_density_holds_all_eigenvalues_where_they_are() -> None:
    values = np.asarray([*[0.0] * 30, *[4.0] * 10])
    of = matrix(values)
    found = spectrum(of)
    for seed in range(2, 34):
        found.probe(start(seed), 10)
    bins = density(found.nodes, 0.0, 4.0)
    assert sum(each.share for each in bins) == pytest.approx(1)
    shares = {round(each.low + each.high, 3) / 2: each.share for each in bins if each.share > 0.01}
    assert shares == pytest.approx({0.0: 0.75, 4.0: 0.25}, abs=0.06)


def test_a_bin_lies_around_zero_and_no_eigenvalue_beyond_the_ends() -> None:
    found = spectrum(matrix(np.linspace(-0.3, 2, SIZE)))
    found.probe(start(3), 20)
    bins = density(found.nodes, -0.3, 2.0)
    assert sum(each.low < 0 < each.high for each in bins) == 1
    assert bins[0].low <= -0.3
    assert bins[-1].high >= 2
    assert sum(each.share for each in density((), 0.0, 0.0)) == 1


def test_the_trace_lies_within_its_error() -> None:
    values = np.linspace(-1, 4, SIZE)
    found = spectrum(matrix(values))
    for seed in range(100):
        found.sample(start(100 + seed))
    trace, error = trace_of(found.traces())
    assert error is not None
    assert abs(trace - values.sum()) < 4 * error
    assert error < 0.2 * abs(trace)


def test_a_basis_stays_orthogonal_where_plain_lanczos_loses_it() -> None:
    values = np.concatenate([[1e4], np.linspace(0, 1, SIZE - 1)])
    of = matrix(values)
    run = Lanczos(lambda v: of @ v, start())
    for _ in range(20):
        run.step()
    vectors = np.stack([np.asarray(run.vector(unit)) for unit in np.eye(20)])
    assert np.abs(vectors @ vectors.T - np.eye(20)).max() < 1e-4
