"""The comparison, against theory on a quadratic and against plain optax loops."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import numpy as np
import optax
import pytest

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers.compare import compare
from gradscope.options import CompareOptions
from gradscope.records import Comparison, Contestant
from tests.optimizers.problems import CURVATURES, mlp, quadratic


def compared(problem: Problem, *names: str, **terms: Any) -> Comparison:
    options = CompareOptions(**{"optimizers": names, "steps": 40, "seeds": 2, "grid": 3, **terms})
    return compare(problem.reseeded, options, 0, lambda stage: None)


def row(comparison: Comparison, name: str) -> Contestant:
    return next(contestant for contestant in comparison.contestants if contestant.name == name)


def plain_loop(problem: Problem, optimizer: Any, seed: int, steps: int) -> list[float]:
    """The textbook loop: nothing of gradscope but the user's loss, batches and keys."""
    start = problem.reseeded(seed)
    params, losses = start.params, []
    optimizer = optax.with_extra_args_support(optimizer)
    state = optimizer.init(params)
    batches = itertools.chain.from_iterable(start.batches() for _ in itertools.count())
    for step, batch in zip(range(steps), batches, strict=False):
        loss, grads = jax.value_and_grad(lambda p, b=batch, s=step: start.loss(p, b, start.key(s))[0])(params)
        updates, state = optimizer.update(grads, state, params, value=loss, grad=grads)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    return losses


@pytest.mark.parametrize("vmap", ["off", "on"])
@pytest.mark.parametrize("name", ["sgd", "adam", "nesterov", "rmsprop"])
def test_every_run_is_that_of_a_plain_optax_loop(name: str, vmap: str) -> None:
    makers = {
        "sgd": optax.sgd,
        "adam": optax.adam,
        "rmsprop": optax.rmsprop,
        "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    }
    found = row(compared(mlp(), name, exhaustive=True, vmap=vmap), name)
    for trial in found.trials:
        assert trial.learning_rate is not None
        plain = plain_loop(mlp(), makers[name](trial.learning_rate), trial.seed, 40)
        alive = [loss for loss in trial.losses if loss < 10.0]
        assert len(alive) > 5
        assert alive == pytest.approx(plain[: len(alive)], rel=2e-3)


def test_sgd_on_a_quadratic_behaves_as_theory_says() -> None:
    found = row(compared(quadratic(), "sgd", steps=60, grid=9, exhaustive=True, target=1e-6), "sgd")
    stable = 2.0 / CURVATURES.max()
    for trial in found.trials:
        rate = trial.learning_rate
        assert rate is not None
        assert (trial.diverged_at is not None) == (rate > stable), rate
    assert found.learning_rate == pytest.approx(2.0 / CURVATURES.sum(), rel=0.5)
    # At rate 0.32 the slower direction shrinks by 0.68 a step.
    rate = found.learning_rate
    factor = max(abs(1 - rate * CURVATURES))
    start = quadratic().reseeded(0).params["x"]
    steps = math.log(1e-6 / float(0.5 * np.sum(CURVATURES * np.square(start)))) / (2 * math.log(factor))
    # The target is held by the mean over the window, which lags by about half of it.
    assert steps - 1 <= found.steps_to_target <= steps + 7


def test_the_state_is_measured_in_multiples_of_the_parameters() -> None:
    comparison = compared(mlp(), "sgd", "momentum", "adam", "adagrad", steps=20, grid=1)
    ratios = {r.name: r.state_to_parameters for r in comparison.contestants}
    assert ratios == {"sgd": 0.0, "momentum": 1.0, "adam": 2.0, "adagrad": 1.0}
    assert row(comparison, "adam").state_bytes == 2 * comparison.parameter_bytes


def test_the_same_seed_gives_the_same_table() -> None:
    def table() -> list[tuple[Any, ...]]:
        return [
            (r.name, r.learning_rate, r.final_loss, r.steps_to_target, r.tied_with_best, r.tolerant_decades)
            for r in compared(mlp(), "sgd", "adam").contestants
        ]

    assert table() == table()


def test_an_optimizer_and_its_twin_are_a_tie() -> None:
    problem = mlp(candidates={"twin": lambda rate: optax.adam(rate, eps=1.1e-8)})
    found = compared(problem, "adam", seeds=4)
    assert [r.tied_with_best for r in found.contestants] == [False, True]
    assert any("a tie" in reason for reason in found.reasons)


def test_a_clear_winner_is_no_tie() -> None:
    found = compared(quadratic(), "sgd", "lion", seeds=4, steps=60)
    assert found.contestants[0].name == "sgd"
    assert not found.contestants[1].tied_with_best


def test_halving_finds_what_the_whole_grid_finds() -> None:
    for name in ("sgd", "adam"):
        halved = row(compared(mlp(), name, grid=5, steps=80), name)
        whole = row(compared(mlp(), name, grid=5, steps=80, exhaustive=True), name)
        assert halved.learning_rate == whole.learning_rate
        assert halved.final_loss == whole.final_loss
        assert sum(len(t.losses) for t in halved.trials) < sum(len(t.losses) for t in whole.trials)
        assert any(t.stopped_early for t in halved.trials)


def test_the_grid_grows_until_the_best_is_inside() -> None:
    found = row(compared(quadratic(), "lion", grid=3), "lion")
    rates = {t.learning_rate for t in found.trials}
    assert found.learning_rate not in (min(rates), max(rates))
    assert max(rates) > 10 * 1e-4


def test_a_diverging_optimizer_keeps_its_row_and_its_time_is_infinite() -> None:
    problem = quadratic(candidates={"wild": lambda rate: optax.sgd(1e6 + 0 * rate)})
    found = row(compared(problem, "sgd"), "wild")
    assert math.isinf(found.final_loss)
    assert math.isinf(found.seconds_to_target)
    assert found.diverged_share == 1.0
    assert found.suits.startswith("Diverged")


def test_the_users_optimizer_runs_as_it_is_and_is_told_what_it_could_gain() -> None:
    found = compared(quadratic(optimizer=optax.sgd(1e-3)), "sgd", seeds=4)
    yours = row(found, "yours")
    assert yours.learning_rate is None
    assert found.users == "yours"
    assert yours.trials[0].losses == pytest.approx(plain_loop(quadratic(), optax.sgd(1e-3), 0, 40), rel=1e-4)
    assert any(reason.startswith("Your optimizer ends at") for reason in found.reasons)


def test_all_optimizers_see_the_same_starts_and_batches() -> None:
    found = compared(mlp(), "sgd", "adam", "adagrad")
    first = {(t.seed, t.losses[0]) for r in found.contestants for t in r.trials}
    assert len(first) == 2


def test_the_line_to_paste_makes_the_run_again() -> None:
    found = compared(mlp(), "adam", "sgd", schedule="cosine", clip=0.5)
    names: dict[str, Any] = {"optax": optax}
    exec(found.recommendation, names)
    best = found.contestants[0]
    mine = [t for t in best.trials if t.learning_rate == best.learning_rate and not t.stopped_early]
    losses = plain_loop(mlp(), names["optimizer"], mine[0].seed, 40)
    assert mine[0].losses == pytest.approx(losses, rel=2e-3)


def test_the_validation_loss_ranks_where_there_is_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(32, 4)).astype(np.float32)
    found = compared(mlp(validation_batch=(x, np.sin(x.sum(1, keepdims=True)))), "sgd", "adam")
    losses = [r.validation_loss for r in found.contestants]
    assert None not in losses
    assert losses == sorted(losses)


def test_a_line_search_is_charged_for_its_evaluations() -> None:
    found = row(compared(quadratic(), "lbfgs", "sgd", steps=20), "lbfgs")
    assert found.evaluations_per_step > 1.0
    assert found.kind == "automatic"
    assert found.final_loss < 1e-3


def test_lbfgs_on_changing_batches_is_warned_of_and_on_one_batch_not() -> None:
    noisy = compared(mlp(), "lbfgs", steps=20, seeds=1)
    assert any("L-BFGS" in reason for reason in noisy.reasons)
    quiet = compared(quadratic(), "lbfgs", steps=20, seeds=1)
    assert not any("L-BFGS" in reason for reason in quiet.reasons)


@pytest.mark.parametrize("name", ["schedule_free_adamw", "prodigy", "muon", "sophia", "adafactor", "rprop"])
def test_other_optimizers_of_optax_run_by_their_name(name: str) -> None:
    found = row(compared(mlp(), name, steps=20, seeds=1), name)
    assert math.isfinite(found.final_loss)


def test_a_loss_that_starts_as_no_number_is_refused() -> None:
    problem = Problem(lambda p, b: (p["x"] * np.nan).sum(), {"x": np.ones(2, np.float32)}, CURVATURES)
    with pytest.raises(GradscopeError, match="before the first step") as caught:
        compared(problem, "sgd")
    assert "gradscope check" in caught.value.fix


@pytest.mark.parametrize("terms", [{"steps": 0}, {"seeds": 0}, {"grid": 0}])
def test_nothing_to_measure_is_refused(terms: dict[str, int]) -> None:
    with pytest.raises(GradscopeError, match="is 0"):
        compared(quadratic(), "sgd", **terms)


def test_an_unknown_optimizer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(GradscopeError, match="adamm") as caught:
        compared(quadratic(), "adamm")
    assert "adam" in caught.value.fix


def test_an_optimizer_that_does_not_fit_is_refused_before_anything_runs() -> None:
    problem = quadratic(candidates={"mine": lambda rate: optax.masked(optax.sgd(rate), {"y": True})})
    with pytest.raises(GradscopeError, match="'mine' cannot train"):
        compared(problem, "sgd")


def test_batches_that_end_for_good_are_refused() -> None:
    problem = quadratic()
    once = Problem(problem.loss_fn, problem.params, batches=lambda: next(SUPPLY, iter(())))
    with pytest.raises(GradscopeError, match="ended after"):
        compared(once, "sgd")


SUPPLY = iter([[CURVATURES, CURVATURES]])


def test_an_interruption_compares_what_is_known() -> None:
    def stage(text: str) -> None:
        if "adam (2" in text:
            raise KeyboardInterrupt

    options = CompareOptions(optimizers=("sgd", "adam"), steps=20, seeds=1, grid=1)
    found = compare(quadratic().reseeded, options, 0, stage)
    assert [r.name for r in found.contestants] == ["sgd"]
    assert not found.complete
