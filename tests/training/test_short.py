"""The short training against a plain loop of optax, and what it says of healthy and sick optimizers."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.model.optimizer_state import resumed
from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.records import Report, ShortTraining
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_loss, check_problem

SPLIT = jax.random.split(jax.random.key(0), 4)
PARAMS = {
    "body": {"w": jax.random.normal(SPLIT[0], (6, 16)) / 6**0.5, "b": jnp.zeros(16)},
    "head": {"w": jax.random.normal(SPLIT[1], (16, 1)) / 4.0, "b": jnp.zeros(1)},
}
X = jax.random.normal(SPLIT[2], (64, 6))
Y = jnp.sin(2 * X[:, :1])
BATCH = X, Y
HEAD_ALONE = {"body": "keep", "head": "train"}


def loss_fn(params: Any, batch: Any) -> Any:
    x, y = batch
    h = jnp.tanh(x @ params["body"]["w"] + params["body"]["b"])
    return jnp.mean((h @ params["head"]["w"] + params["head"]["b"] - y) ** 2)


def report(optimizer: Any = None, params: Any = PARAMS, **given: Any) -> Report:
    steps, state = given.pop("steps", None), given.pop("optimizer_state", None)
    optimizer = optimizer if state is None else resumed(optimizer, state)
    problem = Problem(loss_fn, params, **({"batch": BATCH} | given), optimizer=optimizer)
    return check_problem(problem, CheckOptions(steps=steps), target="m.py")


def training(optimizer: Any = None, params: Any = PARAMS, **given: Any) -> ShortTraining:
    found = report(optimizer, params, **given)
    assert found.training is not None, found.skipped
    return found.training


def rules(found: Report) -> set[str]:
    return {finding.rule for finding in found.findings}


def plain_loop(optimizer: Any, batches: list[Any], state: Any = None) -> tuple[list[float], float]:
    """Losses before each step, and that of the first batch after the last one."""
    params, update = PARAMS, optax.with_extra_args_support(optimizer).update
    state = optimizer.init(params) if state is None else state
    losses = []
    for batch in batches:
        loss_of = partial(loss_fn, batch=batch)
        loss, gradients = jax.value_and_grad(loss_of)(params)
        updates, state = update(gradients, state, params, value=loss, grad=gradients, value_fn=loss_of)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    return losses, float(loss_fn(params, batches[0]))


def test_the_steps_are_those_of_optax_on_the_batches_in_their_order() -> None:
    cut = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 64, 16)]
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(1e-2))
    found = training(optimizer, batch=None, batches=cut, steps=10)
    losses, end = plain_loop(optimizer, [cut[step % 4] for step in range(10)])
    assert (found.steps, found.batches, found.own, found.restored) == (10, 4, True, False)
    assert found.losses == pytest.approx(losses, rel=1e-5)
    assert (found.start, found.end) == (found.losses[0], pytest.approx(end, rel=1e-5))


def test_an_iterator_that_ends_is_not_begun_again() -> None:
    asked = []

    def batches() -> Any:
        asked.append(1)
        yield from [BATCH] * 3

    found = training(optax.sgd(0.1), batch=None, batches=batches, steps=5)
    assert (found.batches, len(found.losses)) == (3, 5)
    # once for the first batch, which every problem draws, and once for what is measured
    assert len(asked) <= 2


def test_a_batch_that_cannot_be_drawn_ends_the_drawing_and_nothing_else() -> None:
    def batches() -> Any:
        yield BATCH
        yield BATCH
        raise OSError("the file is gone")

    assert training(optax.sgd(0.1), batch=None, batches=batches).batches == 2


def test_a_restored_state_goes_on_where_it_stood() -> None:
    optimizer = optax.sgd(optax.linear_schedule(0.1, 0.0, 100))
    state = optax.tree_utils.tree_set(optimizer.init(PARAMS), count=jnp.asarray(50, jnp.int32))
    found = training(optimizer, optimizer_state=state, steps=5)
    losses, end = plain_loop(optimizer, [BATCH] * 5, state)
    assert found.restored
    assert (*found.losses, found.end) == pytest.approx((*losses, end), rel=1e-5)


def test_a_state_of_other_params_is_not_used() -> None:
    optimizer = optax.adam(0.1)
    other = optimizer.init({"w": jnp.zeros(3)})
    assert not training(optimizer, optimizer_state=other).restored


def test_without_an_optimizer_adam_is_taken_and_blamed_for_nothing() -> None:
    found = report()
    assert found.training is not None
    assert (found.training.optimizer, found.training.own) == ("adam(0.001)", False)
    assert found.training.end < found.training.start
    assert "no optimizer given" in found.unexamined
    assert found.findings == ()


def test_adam_in_the_place_of_an_optimizer_steps_in_float32() -> None:
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), PARAMS)
    half = training(None, params)
    assert half.end == pytest.approx(training().end, rel=0.05)


def test_no_steps_on_demand() -> None:
    found = report(optax.sgd(0.1), steps=0)
    assert found.training is None
    assert "training not tried" in found.unexamined


def test_an_optimizer_that_needs_more_than_a_gradient_is_said() -> None:
    def update(updates: Any, state: Any, params: Any = None, *, curvature: Any, **more: Any) -> Any:
        return updates, state

    found = report(optax.GradientTransformationExtraArgs(optax.identity().init, update))
    assert found.training is None
    (reason,) = (skip.reason for skip in found.skipped if skip.what == "training")
    assert "it takes no step with the gradient alone, nor with value, grad, value_fn, obj_fn or" in reason
    assert "missing 1 required keyword-only argument: 'curvature'" in reason
    assert found.flow is not None
    assert found.flow.layers[0].gradient_rms > 0


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.lbfgs(),
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15)),
        optax.polyak_sgd(),
        optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()),
        optax.contrib.schedule_free_adamw(1e-3),
    ],
    ids=["lbfgs", "backtracking", "polyak", "plateau", "schedule-free"],
)
def test_what_an_optimizer_takes_beside_the_gradient_is_given(optimizer: Any) -> None:
    found = training(optimizer, steps=4)
    losses, end = plain_loop(optimizer, [BATCH] * 4)
    assert found.own
    assert found.losses == pytest.approx(losses, rel=1e-3)
    assert found.end == pytest.approx(end, rel=1e-3)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.contrib.sophia(1e-3),
        optax.contrib.sam(
            optax.sgd(1e-3), optax.chain(optax.contrib.normalize(), optax.sgd(0.01)), opaque_mode=True
        ),
    ],
    ids=["sophia", "sam"],
)
def test_the_loss_as_a_function_has_the_name_that_an_optimizer_gives_it(optimizer: Any) -> None:
    found = training(optimizer, steps=4)
    assert found.end < found.start


def test_what_arrives_and_what_keeps_its_bits() -> None:
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    found = training(optax.sgd(1e-5), params, steps=1)
    gradients = jax.grad(loss_fn)(params, BATCH)
    for leaf, gradient, weight in zip(
        found.leaves, jax.tree.leaves(gradients), jax.tree.leaves(params), strict=True
    ):
        update = (-1e-5 * gradient).astype(jnp.bfloat16)
        real = np.float32((weight + update).astype(jnp.bfloat16)) - np.float32(weight)
        asked = np.float32(update) != 0
        assert leaf.unchanged_share == pytest.approx(np.mean(real[asked] == 0), abs=0.02)
        arrived = np.sum(real * np.float32(update)) / np.sum(np.float32(update) ** 2)
        assert leaf.arrived_share == pytest.approx(arrived, abs=0.02)


HEALTHY = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.05, momentum=0.9, nesterov=True),
    "adam": optax.adam(3e-3),
    "adamw, strong decay": optax.adamw(3e-3, weight_decay=0.5),
    "lion": optax.lion(1e-3),
    "rmsprop": optax.rmsprop(1e-3),
    "adafactor": optax.adafactor(1e-2),
    "warm-up from zero": optax.adam(optax.linear_schedule(0.0, 1e-2, 500)),
    "accumulated over 50 batches": optax.MultiSteps(optax.adam(1e-2), 50).gradient_transformation(),
    "noise": optax.noisy_sgd(0.05, eta=0.3, gamma=0.0, key=0),
    "sharpness-aware": optax.contrib.sam(optax.sgd(0.05), optax.sgd(0.05), sync_period=2),
    "frozen body": optax.multi_transform(
        {"train": optax.adam(3e-3), "keep": optax.set_to_zero()}, HEAD_ALONE
    ),
}


@pytest.mark.few(5)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_optimizer_is_no_finding(name: str) -> None:
    grave = {f.rule for f in report(HEALTHY[name]).findings if f.severity.value != "note"}
    assert grave == set()


SICK = {
    "mask that passes gradients on": (
        optax.masked(optax.adam(3e-3), {"body": False, "head": True}),
        "ascending-update",
    ),
    "sign lost": (optax.chain(optax.scale_by_adam(), optax.scale(3e-3)), "ascending-update"),
    "sign lost, of a gradient of norm 1": (
        optax.chain(optax.contrib.normalize(), optax.scale(0.05)),
        "ascending-update",
    ),
    "rate of zero": (optax.sgd(0.0), "not-updated"),
    "all labels frozen": (
        optax.multi_transform({"keep": optax.set_to_zero()}, jax.tree.map(lambda _: "keep", PARAMS)),
        "not-updated",
    ),
    "far too high": (optax.sgd(100.0), "learning-rate-too-high"),
    "far too low": (optax.sgd(1e-7), "learning-rate-too-low"),
}


@pytest.mark.parametrize("name", SICK)
def test_a_sick_optimizer_is_named_by_its_cause_alone(name: str) -> None:
    optimizer, rule = SICK[name]
    found = report(optimizer)
    assert rules(found) - {"unstable-expression"} == {rule}
    (finding,) = (each for each in found.findings if each.rule == rule)
    assert finding.severity.value == ("warning" if rule == "learning-rate-too-low" else "error")


def test_updates_that_bfloat16_rounds_away() -> None:
    params = jax.tree.map(lambda leaf: (leaf + 0.5).astype(jnp.bfloat16), PARAMS)
    sick = report(optax.adam(3e-5), params)
    assert rules(sick) == {"invisible-update"}
    assert report(optax.adam(3e-2), params).findings == ()
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    assert "invisible-update" not in rules(report(optax.adam(3e-5), wide))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_loss_changes_no_verdict(scale: float) -> None:
    def scaled(params: Any, batch: Any) -> Any:
        return scale * loss_fn(params, batch)

    for optimizer, rule in (SICK["mask that passes gradients on"], SICK["rate of zero"]):
        found = check_loss(scaled, PARAMS, BATCH, optimizer=optimizer)
        assert rule in rules(found)
    assert check_loss(scaled, PARAMS, BATCH, optimizer=optax.adam(3e-3)).findings == ()


def test_a_finished_schedule_of_a_restored_state() -> None:
    optimizer = optax.adam(optax.linear_schedule(1e-2, 0.0, 400))
    state = optax.tree_utils.tree_set(optimizer.init(PARAMS), count=jnp.asarray(1000, jnp.int32))
    assert rules(report(optimizer, optimizer_state=state)) == {"not-updated"}
    assert report(optimizer, optimizer_state=optimizer.init(PARAMS)).findings == ()


def test_what_is_held_is_a_note_with_its_names() -> None:
    (note,) = report(HEALTHY["frozen body"]).findings
    assert (note.rule, note.severity.value, note.evidence["held"]) == ("not-updated", "note", 2)
    assert "`body.b` and `body.w`" in note.message


def test_random_numbers_are_drawn_anew_at_each_step_and_the_same_for_the_end() -> None:
    def noisy(params: Any, batch: Any, key: Any) -> Any:
        return loss_fn(params, batch) + 0.0 * jnp.sum(params["head"]["b"]) + jax.random.uniform(key)

    problem = Problem(noisy, PARAMS, BATCH, optimizer=optax.sgd(1e-9))
    found = check_problem(problem, CheckOptions(steps=6), target="m.py").training
    assert found is not None
    assert len(set(found.losses)) == 6
    assert found.end == pytest.approx(found.start, rel=1e-5)


def test_a_batch_that_the_program_does_not_fit_is_passed_over() -> None:
    def two_tasks(params: Any, batch: Any) -> Any:
        return loss_fn(params, batch["data"]) + (10.0 if batch["task"] else 0.0)

    batches = [{"data": BATCH, "task": number % 2} for number in range(6)]
    found = check_loss(two_tasks, PARAMS, batches=batches, optimizer=optax.sgd(0.05))
    assert found.training is not None
    assert found.training.batches == 3
    assert max(found.training.losses) < 10.0
    assert any("3 batches in the training" in skip.what for skip in found.skipped)


def test_decay_of_a_frozen_part_is_no_lost_update() -> None:
    def frozen(params: Any, batch: Any) -> Any:
        return loss_fn(params | {"body": jax.lax.stop_gradient(params["body"])}, batch)

    found = check_loss(frozen, PARAMS, BATCH, optimizer=optax.adamw(3e-4))
    assert "invisible-update" not in rules(found)


def test_a_rate_that_is_lost_in_float32_is_told_as_the_rate() -> None:
    assert rules(report(optax.sgd(1e-9))) == {"learning-rate-too-low"}


def test_a_multiplier_that_is_maximized_at_a_rate_of_one_is_no_error() -> None:
    def lagrangian(params: Any, batch: Any) -> Any:
        norm = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params["net"]))
        return loss_fn(params["net"], batch) + params["lam"] * (norm - 1.0) / 100

    params = {"net": PARAMS, "lam": jnp.zeros(())}
    labels = {"net": "down", "lam": "up"}
    optimizer = optax.multi_transform({"down": optax.adam(1e-2), "up": optax.sgd(-1.0)}, labels)
    found = check_loss(lagrangian, params, BATCH, optimizer=optimizer)
    assert {f.rule: f.severity.value for f in found.findings} == {"ascending-update": "warning"}


def test_a_large_model_that_accumulates_is_no_error() -> None:
    def wide(params: Any, batch: Any) -> Any:
        return jnp.mean((batch[0] @ params["w"][:6, :1] - batch[1]) ** 2)

    params = {"w": jnp.full((1000, 1000), 0.1)}
    optimizer = optax.MultiSteps(optax.adam(1e-3), 1024).gradient_transformation()
    found = check_loss(wide, params, BATCH, optimizer=optimizer)
    assert {f.severity.value for f in found.findings if f.rule == "not-updated"} <= {"note"}


def test_no_gradient_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass hands that of the first step out, and measures the layers after the last one with its loss."""
    ran: list[str] = []

    def counted(name: str) -> Any:
        inner = getattr(FlowPass, name)

        def call(self: Any, *given: Any) -> Any:
            ran.append(name)
            return inner(self, *given)

        return call

    for name in ("with_gradients", "loss_and_gradients"):
        monkeypatch.setattr(FlowPass, name, counted(name))
    found = training(steps=3)
    assert sorted(ran) == [*["loss_and_gradients"] * 2, *["with_gradients"] * 2]
    losses, end = plain_loop(optax.adam(1e-3), [BATCH] * 3)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(found.end, end, rtol=1e-5)


@pytest.mark.parametrize("size", [1e5, 1e3])
def test_rates_are_lowered_until_one_suits(size: float) -> None:
    x = size * np.linspace(0, 1, 200, dtype=np.float32)

    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean((params["w"] * batch[0] + params["b"] - batch[1]) ** 2)

    params = {"w": jnp.float32(1), "b": jnp.float32(1)}
    problem = Problem(loss, params, (x, x + size), optimizer=optax.sgd(0.1))
    (finding,) = check_problem(problem, CheckOptions(), target="m.py").findings
    assert finding.rule == "learning-rate-too-high"
    factor = finding.evidence["factor"]
    assert isinstance(factor, float)
    assert 2 / (2 * float(np.mean(x**2))) / 200 < 0.1 * factor < 2 / (2 * float(np.mean(x**2)))
