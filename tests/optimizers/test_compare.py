"""The comparison, against theory on a quadratic and against plain optax loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers import planning
from gradscope.optimizers.compare import compare
from gradscope.records import Comparison, Contestant
from gradscope.records.options import CompareOptions
from tests.optimizers.problems import CURVATURES, mlp, quadratic

MAKERS: dict[str, Callable[[float], Any]] = {
    "sgd": optax.sgd,
    "adam": optax.adam,
    "rmsprop": optax.rmsprop,
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
}


def compared(problem: Problem, *names: str, **terms: Any) -> Comparison:
    options = CompareOptions(**{"optimizers": names, "steps": 40, "seeds": 2, "grid": 3, **terms})
    return compare(problem.reseeded, options, 0, lambda stage: None)


@cache
def usual() -> Comparison:
    """What several tests look at: 30 steps, which is no multiple of a chunk, and every run to the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "LOOP_FROM", 0)
        return compared(mlp(), *MAKERS, steps=30, exhaustive=True)


def row(comparison: Comparison, name: str) -> Contestant:
    return next(contestant for contestant in comparison.contestants if contestant.name == name)


def textbook(problem: Problem, make: Callable[[Any], Any]) -> Callable[[float, int, int], list[float]]:
    """The loop that everybody writes: nothing of gradscope but the user's loss, batches and keys."""

    @jax.jit
    def step(rate: Any, params: Any, state: Any, batch: Any, key: Any) -> Any:
        loss, grads = jax.value_and_grad(lambda p: problem.loss(p, batch, key)[0])(params)
        updates, state = make(rate).update(grads, state, params)
        return loss, optax.apply_updates(params, updates), state

    def run(rate: float, seed: int, steps: int) -> list[float]:
        start = problem.reseeded(seed)
        params, losses = start.params, []
        state = make(rate).init(params)
        batches = itertools.chain.from_iterable(start.batches() for _ in itertools.count())
        for number, batch in zip(range(steps), batches, strict=False):
            loss, params, state = step(rate, params, state, batch, start.key(number))
            losses.append(float(loss))
        return losses

    return run


def until_it_grows(losses: Any) -> list[float]:
    """Up to where a diverging run magnifies rounding."""
    return list(itertools.takewhile(lambda loss: loss < 10.0, losses))


def test_every_run_is_that_of_a_plain_optax_loop() -> None:
    assert usual().engine.startswith("loop")
    for found in usual().contestants:
        run = textbook(mlp(), MAKERS[found.name])
        for trial in found.trials:
            assert trial.learning_rate is not None
            plain = run(trial.learning_rate, trial.seed, 30)
            alive = until_it_grows(trial.losses)
            assert len(trial.losses) == 30 or trial.diverged_at is not None
            assert alive == pytest.approx(plain[: len(alive)], rel=2e-3)


@pytest.mark.parametrize("engine", ["vmap", "step"])
def test_the_engines_agree_run_by_run(engine: str) -> None:
    vmap = "on" if engine == "vmap" else "off"
    other = compared(mlp(), "sgd", "adam", steps=30, exhaustive=True, vmap=vmap)
    assert other.engine.startswith(engine)
    for found in other.contestants:
        for mine, looped in zip(found.trials, row(usual(), found.name).trials, strict=True):
            assert (mine.seed, mine.learning_rate) == (looped.seed, looped.learning_rate)
            alive = until_it_grows(mine.losses)
            assert alive == pytest.approx(looped.losses[: len(alive)], rel=2e-3)


def test_sgd_on_a_quadratic_behaves_as_theory_says() -> None:
    found = row(compared(quadratic(), "sgd", steps=60, grid=9, exhaustive=True, target=1e-6), "sgd")
    stable = 2.0 / CURVATURES.max()
    for trial in found.trials:
        rate = trial.learning_rate
        assert rate is not None
        assert (trial.diverged_at is not None) == (rate > stable), rate
        assert math.isinf(trial.final_loss) == (rate > stable)
    assert found.learning_rate == pytest.approx(2.0 / CURVATURES.sum(), rel=0.5)
    # At rate 0.32 the slower direction shrinks by 0.68 a step.
    rate = found.learning_rate
    factor = max(abs(1 - rate * CURVATURES))
    start = quadratic().reseeded(0).params["x"]
    steps = math.log(1e-6 / float(0.5 * np.sum(CURVATURES * np.square(start)))) / (2 * math.log(factor))
    # The target is held by the mean over the window, which lags by about half of it.
    assert steps - 1 <= found.steps_to_target <= steps + 7
    # Within 0.1 of the improvement: rates whose loss after 60 steps is below a tenth of the start.
    factors = {r: max(abs(1 - r * CURVATURES)) for r in {t.learning_rate for t in found.trials}}
    inside = [r for r, factor in factors.items() if factor < 0.1 ** (1 / 114)]
    whole = math.log10(max(inside) / min(inside))
    assert whole <= found.tolerant_decades <= whole + 1.0


def test_the_state_is_measured_in_multiples_of_the_parameters() -> None:
    ratios = {r.name: r.state_to_parameters for r in usual().contestants}
    assert ratios == {"sgd": 0.0, "nesterov": 1.0, "adam": 2.0, "rmsprop": 1.0}
    assert row(usual(), "adam").state_bytes == 2 * usual().parameter_bytes
    assert not row(usual(), "adam").updates, "nobody asked for them"


def test_the_same_seed_gives_the_same_table() -> None:
    def table(found: Comparison) -> list[tuple[Any, ...]]:
        return [
            (r.name, r.learning_rate, r.final_loss, r.steps_to_target, r.tied_with_best, r.tolerant_decades)
            for r in found.contestants
        ]

    assert table(usual.__wrapped__()) == table(usual())


def test_an_optimizer_and_its_twin_are_a_tie() -> None:
    problem = mlp(candidates={"twin": lambda rate: optax.adam(rate, eps=1.1e-8)})
    found = compared(problem, "adam", "twin", seeds=4)
    assert [r.tied_with_best for r in found.contestants] == [False, True]
    assert any("is not significant" in reason for reason in found.reasons)
    assert row(found, "twin").kind == "own"


def test_a_clear_winner_is_no_tie() -> None:
    found = compared(quadratic(), "sgd", "lion", seeds=4, steps=60)
    assert found.contestants[0].name == "sgd"
    assert found.contestants[1].tied_with_best is False


def test_halving_finds_what_the_whole_grid_finds() -> None:
    found = {
        exhaustive: compared(mlp(), "sgd", "adam", grid=5, steps=80, exhaustive=exhaustive)
        for exhaustive in (False, True)
    }
    for name in ("sgd", "adam"):
        halved, whole = row(found[False], name), row(found[True], name)
        assert halved.learning_rate == whole.learning_rate
        assert halved.final_loss == whole.final_loss
        assert sum(len(t.losses) for t in halved.trials) < sum(len(t.losses) for t in whole.trials)
        assert any(t.stopped_early for t in halved.trials)


def test_runs_that_are_let_go_between_two_rungs_end_where_kept_ones_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = compared(quadratic(), "sgd", grid=5, steps=80)
    monkeypatch.setattr(planning, "KEPT_SHARE", 0.0)
    assert compared(quadratic(), "sgd", grid=5, steps=80).contestants[0].trials == kept.contestants[0].trials


def test_the_grid_grows_until_the_best_is_inside() -> None:
    found = row(compared(quadratic(), "lion", grid=5), "lion")
    rates = {t.learning_rate for t in found.trials}
    assert found.learning_rate not in (min(rates), max(rates))
    assert max(rates) > 10 * 1e-4


def test_a_diverging_optimizer_keeps_its_row_and_its_time_is_infinite() -> None:
    problem = quadratic(candidates={"wild": lambda rate: optax.sgd(1e6 + 0 * rate)})
    found = row(compared(problem, "sgd", "wild"), "wild")
    assert math.isinf(found.final_loss)
    assert math.isinf(found.seconds_to_target)
    assert found.diverged_share == 1.0
    assert found.summary.startswith("Diverged")


def test_a_run_that_reaches_the_target_and_then_diverges_missed_it() -> None:
    late = optax.join_schedules([optax.constant_schedule(0.3), optax.constant_schedule(1e9)], [30])
    problem = quadratic(candidates={"late": lambda rate: optax.sgd(late)})
    found = row(compared(problem, "late", "sgd"), "late")
    assert min(found.trials[0].losses) < 1e-3
    assert math.isinf(found.steps_to_target)
    assert math.isinf(found.final_loss)


def test_the_users_optimizer_runs_as_it_is_and_is_told_what_it_could_gain() -> None:
    found = compared(quadratic(optimizer=optax.sgd(1e-3)), "sgd", seeds=4, schedule="cosine", clip=1e-9)
    yours = row(found, "yours")
    assert (yours.learning_rate, yours.kind) == (None, "own")
    assert found.users == "yours"
    assert yours.trials[0].losses == pytest.approx(textbook(quadratic(), optax.sgd)(1e-3, 0, 40), rel=1e-4)
    assert any(reason.startswith("Your optimizer") for reason in found.reasons)


def test_asking_for_names_leaves_the_other_candidates_of_the_file_out() -> None:
    problem = quadratic(candidates={"mine": optax.sgd, "other": optax.sgd}, optimizer=optax.sgd(0.1))
    found = compared(problem, "mine", steps=20, seeds=1, grid=1)
    assert {r.name for r in found.contestants} == {"mine", "yours"}


def test_yours_can_be_asked_for_alone_where_the_file_has_one() -> None:
    found = compared(quadratic(optimizer=optax.sgd(0.1)), "yours", steps=20, seeds=1)
    assert [r.name for r in found.contestants] == ["yours"]
    with pytest.raises(GradscopeError, match="'yours'") as caught:
        compared(quadratic(), "yours")
    assert "`optimizer`" in caught.value.why


def test_all_optimizers_see_the_same_starts_and_batches() -> None:
    first = {(t.seed, t.losses[0]) for r in usual().contestants for t in r.trials}
    assert len(first) == 4, "two seeds judge, and two others tune"


@pytest.mark.few(1)
@pytest.mark.parametrize("schedule", ["cosine", "warmup-cosine", "wsd"])
def test_the_line_to_paste_makes_the_run_again(schedule: str) -> None:
    found = compared(mlp(), "adam", "sgd", schedule=schedule, clip=0.5, steps=37)
    names: dict[str, Any] = {"optax": optax}
    exec(found.recommendation, names)
    (mine, *_) = found.contestants[0].judged
    losses = textbook(mlp(), lambda rate: names["optimizer"])(0.0, mine.seed, 37)
    assert mine.losses == pytest.approx(losses, rel=2e-3)


def test_the_validation_loss_ranks_where_there_is_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(32, 4)).astype(np.float32)
    problem = mlp(validation_batch=(x, np.sin(x.sum(1, keepdims=True))), optimizer=optax.sgd(1e-4))
    found = compared(problem, "sgd", "adam", seeds=4)
    losses = [r.validation_loss for r in found.contestants]
    assert None not in losses
    assert losses == sorted(losses)
    assert found.validated
    assert found.contestants[0].summary.startswith("Lowest validation loss")
    assert any("ends at" in reason and "on validation" in reason for reason in found.reasons)


def test_a_validation_loss_that_is_no_number_ranks_last() -> None:
    def loss(params: Any, batch: Any) -> Any:
        return jnp.sum(params["x"] ** 2) - 0.01 * jnp.sum(jnp.log(batch - params["x"]))

    problem = Problem(
        loss,
        {"x": np.full(2, 0.9, np.float32)},
        np.full(2, 5.0, np.float32),
        validation_batch=np.full(2, 0.5, np.float32),
        candidates={"still": lambda rate: optax.sgd(0.0 * rate)},
    )
    found = compared(problem, "sgd", "still", steps=40, seeds=1)
    assert [r.name for r in found.contestants] == ["sgd", "still"]
    assert math.isinf(found.contestants[1].validation_loss or 0.0)


def test_a_line_search_is_charged_for_its_evaluations() -> None:
    found = row(compared(quadratic(), "lbfgs", "sgd", steps=20), "lbfgs")
    assert found.evaluations_per_step > 1.0
    assert found.kind == "automatic"
    assert found.final_loss < 1e-3


def test_lbfgs_on_changing_batches_is_warned_of_and_on_one_batch_not() -> None:
    from gradscope.optimizers.verdict import reasons

    found = compared(quadratic(), "lbfgs", steps=20, seeds=1)
    assert not any("L-BFGS" in reason for reason in found.reasons)
    assert any("L-BFGS" in reason for reason in reasons(found, noisy=True))


def test_seeds_that_change_nothing_are_run_once_and_no_difference_is_called_real() -> None:
    fixed = Problem(quadratic().loss_fn, quadratic().params, CURVATURES)
    found = compared(fixed, "sgd", "adam", seeds=3)
    assert found.seeds == (0,)
    assert {r.tied_with_best for r in found.contestants} == {None}
    assert any("same run" in reason for reason in found.reasons)
    assert not any("tie" in reason or "noise of the seeds" in reason for reason in found.reasons)


def test_one_seed_calls_nothing_a_tie() -> None:
    found = compared(mlp(optimizer=optax.sgd(1e-5)), "adam", steps=20, seeds=1)
    assert not any("nothing to gain" in reason or "a tie" in reason for reason in found.reasons)
    assert any("one seed" in reason for reason in found.reasons)


def test_a_loss_that_nothing_lowers_is_said_to_be_stuck() -> None:
    def flat(params: Any, batch: Any) -> Any:
        return jnp.sum(batch) + 0.0 * jnp.sum(params["x"])

    found = compared(Problem(flat, {"x": np.ones(2, np.float32)}, CURVATURES), "sgd", steps=20, grid=3)
    assert found.contestants[0].tolerant_decades is None
    assert found.recommendation == ""
    assert found.best is None
    assert found.contestants[0].diverged_share == 0.0
    assert any("gradscope check" in reason for reason in found.reasons)


def test_a_loss_that_starts_as_no_number_is_refused() -> None:
    problem = Problem(lambda p, b: (p["x"] * np.nan).sum(), {"x": np.ones(2, np.float32)}, CURVATURES)
    with pytest.raises(GradscopeError, match="before the first step") as caught:
        compared(problem, "sgd")
    assert "gradscope check" in caught.value.fix


@pytest.mark.parametrize("terms", [{"steps": 0}, {"seeds": 0}, {"grid": 0}, {"budget_s": 0.0}])
def test_nothing_to_measure_is_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(GradscopeError, match="is 0"):
        compared(quadratic(), "sgd", **terms)


@pytest.mark.parametrize("target", [math.nan, math.inf])
def test_a_target_that_no_loss_can_cross_is_refused(target: float) -> None:
    with pytest.raises(GradscopeError, match="--target is"):
        compared(quadratic(), "sgd", target=target)


def test_an_unknown_optimizer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(GradscopeError, match="adamm") as caught:
        compared(quadratic(), "adamm")
    assert "adam" in caught.value.fix
    with pytest.raises(GradscopeError, match="mime") as caught:
        compared(quadratic(candidates={"mine": optax.sgd}), "mime")
    assert "mine" in caught.value.fix


def test_an_optimizer_that_does_not_fit_is_refused_before_anything_runs() -> None:
    problem = quadratic(candidates={"mine": lambda rate: optax.masked(optax.sgd(rate), {"y": True})})
    with pytest.raises(GradscopeError, match="'mine' cannot train") as caught:
        compared(problem, "mine")
    assert "change it there" in caught.value.fix


def test_an_interruption_compares_what_is_known() -> None:
    def stage(text: str) -> None:
        if "adam (2" in text:
            raise KeyboardInterrupt

    options = CompareOptions(optimizers=("sgd", "adam"), steps=20, seeds=1, grid=1)
    found = compare(quadratic().reseeded, options, 0, stage)
    assert [r.name for r in found.contestants] == ["sgd"]
    assert not found.complete
    assert any("interrupted" in reason for reason in found.reasons)


def test_an_interruption_before_anything_is_known_ends_the_run() -> None:
    def stage(text: str) -> None:
        if "sgd (1" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(quadratic().reseeded, CompareOptions(("sgd",), 20, 1, 1), 0, stage)


def test_progress_says_how_long_it_will_take() -> None:
    said: list[str] = []
    compare(quadratic().reseeded, CompareOptions(("sgd", "adam"), 20, 1, 1), 0, said.append)
    assert any(text.startswith("adam (2 of 2): ") and text.endswith(" s left") for text in said)


def test_no_seed_that_chose_the_setting_judges_it_and_all_had_as_many_settings() -> None:
    decaying = {"decaying": lambda rate, weight_decay=0.01: optax.adamw(rate, weight_decay=weight_decay)}
    found = compared(mlp(candidates=decaying), "sgd", "adamw", "decaying", seeds=2, grid=3)
    assert (found.seeds, found.tuning_seeds) == ((0, 1), (2, 3))
    for each in found.contestants:
        assert {trial.seed for trial in each.judged} == {0, 1}
        assert {trial.seed for trial in each.tuned} == {2, 3}
        assert len({(t.learning_rate, t.weight_decay) for t in each.tuned}) == each.tried == 8
        assert each.final_loss == float(np.median([trial.final_loss for trial in each.judged]))
    assert row(found, "sgd").weight_decay is None
    assert {row(found, name).usual_decay for name in ("adamw", "decaying")} == {1e-4, 0.01}
    assert any(
        said.startswith("Each optimizer was tried at 8 settings: learning rates, and for ")
        for said in found.reasons
    )
    assert any("The seeds 2, 3 chose among them; they judge none." in said for said in found.reasons)


def test_a_run_with_another_decay_is_that_of_a_plain_optax_loop() -> None:
    (found,) = compared(mlp(), "adamw", seeds=1, grid=5, exhaustive=True).contestants
    decayed = [trial for trial in found.trials if trial.weight_decay not in (None, 1e-4)]
    assert decayed
    for trial in decayed:
        run = textbook(mlp(), lambda rate, decay=trial.weight_decay: optax.adamw(rate, weight_decay=decay))
        assert trial.losses == pytest.approx(run(trial.learning_rate or 0.0, trial.seed, 40), rel=2e-3)


def test_a_large_decay_is_chosen_where_it_lowers_the_validation_loss_and_is_pasted() -> None:
    """Training goes to 1, validation is lowest at 0: only a decay keeps the weight there."""

    def loss(params: Any, batch: Any) -> Any:
        return jnp.sum((params["x"] - batch) ** 2)

    problem = Problem(
        loss, {"x": np.zeros(1, np.float32)}, np.ones(1, np.float32), validation_batch=np.full(1, 0.3, "f")
    )
    (found,) = compared(problem, "adamw", grid=5, steps=100).contestants
    assert found.weight_decay is not None
    whole = [trial for trial in found.trials if not trial.stopped_early]
    decays = {(trial.learning_rate, trial.weight_decay): trial.validation_loss for trial in whole}
    assert (found.learning_rate, found.weight_decay) == min(decays, key=lambda each: decays[each] or 0.0)
    written = f", weight_decay={found.weight_decay:g}" if found.weight_decay != 1e-4 else ""
    assert found.code == f"optax.adamw({found.learning_rate:g}{written})"


def test_a_decay_that_cannot_be_traced_stays_at_its_default() -> None:
    def branching(rate: Any, weight_decay: float = 0.01) -> Any:
        return optax.adamw(rate, weight_decay=weight_decay) if weight_decay else optax.adam(rate)

    (found,) = compared(quadratic(candidates={"mine": branching}), "mine", steps=20).contestants
    assert found.weight_decay is None
    assert found.code.startswith("candidates['mine'](")


def test_a_setting_that_only_the_tuning_seeds_bear_is_told() -> None:
    def init(seed: int) -> Any:
        return {"x": jnp.full(2, 1.0 if seed >= 2 else 30.0)}

    def loss(params: Any, batch: Any) -> Any:  # Quartic: the largest stable rate falls with the start.
        return jnp.sum(batch * params["x"] ** 4)

    problem = Problem(loss, init(0), CURVATURES).with_factory(init)
    found = compared(problem, "sgd", seeds=2, grid=3)
    assert found.best is None
    assert any("sgd lowered the loss on the seeds that tuned, not on those" in said for said in found.reasons)
