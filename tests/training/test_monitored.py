"""The monitored training against a plain loop of `jax.value_and_grad` and optax, in float32 and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

from gradscope.load.problem import Problem
from gradscope.measure.leaf_statistics import weight_statistics
from gradscope.records import Ending, LossRecord, StepRecord, ValidationRecord
from gradscope.records.history import QUANTITIES
from gradscope.records.progress import silent
from gradscope.runs.preparing import prepare
from gradscope.trace.stream import BatchStream, form_of
from gradscope.training.layer_numbers import LayerNumbers
from gradscope.training.monitored import MonitoredTraining, TrainingEnd
from gradscope.training.optimizer import StepRule

Records = list[StepRecord | LossRecord | ValidationRecord]


def monitored(
    problem: Problem, steps: int, *, repeat: bool = False, validation: Any = None, **options: Any
) -> tuple[Records, TrainingEnd, tuple[str, ...]]:
    problem = problem.for_training()
    prepared = prepare(problem, progress=silent)
    weights = prepared.inputs[0].weights
    found = weight_statistics(prepared.program, weights)
    numbers = LayerNumbers(prepared.program, found, prepared.flow(prepared.inputs[0]))
    records: Records = []
    rule = StepRule.of(problem, prepared.tracer)
    if validation is not None:
        others = prepared.tracer.inputs(validation, 0, problem.key()).others
        options["validation"] = prepared.program, others
    training = MonitoredTraining(prepared.program, rule, numbers, weights, records.append, **options)
    opening = chain(prepared.batches, prepared.rest)
    stream = BatchStream(problem, prepared.tracer, form_of(prepared.batches[0]), opening, repeat=repeat)
    end = training.run(stream, steps)
    return records, end, tuple(layer.name for layer in numbers.about)


def steps_of(records: Records) -> list[StepRecord]:
    return [record for record in records if isinstance(record, StepRecord)]


def of(record: StepRecord, quantity: str) -> tuple[float, ...]:
    return record.values[QUANTITIES.index(quantity)]


def rms(value: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(value, np.float64)))))


def mlp(dtype: Any = np.float32) -> Any:
    draw = np.random.default_rng(0)
    return {
        "first": {"w": (draw.normal(size=(6, 8)) / 3).astype(dtype), "b": np.full(8, 0.5, dtype)},
        "last": {"w": (draw.normal(size=(8, 2)) / 3).astype(dtype), "b": np.zeros(2, dtype)},
    }


def outputs(params: Any, x: Any) -> tuple[Array, Array]:
    hidden = x @ params["first"]["w"] + params["first"]["b"]
    return hidden, jnp.tanh(hidden) @ params["last"]["w"] + params["last"]["b"]


def mlp_loss(params: Any, batch: Any) -> Array:
    return jnp.mean((outputs(params, batch["x"])[1] - batch["y"]) ** 2)


def batches(count: int = 3, dtype: Any = np.float32) -> Iterator[Any]:
    draw = np.random.default_rng(1)
    for _ in range(count):
        x = draw.normal(size=(16, 6)).astype(dtype)
        yield {"x": x, "y": np.sin(x[:, :2])}


@pytest.mark.parametrize("scale", [1.0, 1e-16, 1e-22])
def test_every_number_is_that_of_a_plain_loop(scale: float) -> None:
    """At 1e-22 the squares of every gradient and δ leave the range of float32."""

    def loss_fn(params: Any, batch: Any) -> Array:
        return scale * mlp_loss(params, batch)

    optimizer = optax.chain(optax.scale(1 / scale), optax.adam(0.05))
    records, end, names = monitored(Problem(loss_fn, mlp(), batches=batches, optimizer=optimizer), 12)
    assert (end.ending, end.steps, names) == (Ending.COMPLETE, 12, ("first", "last"))
    params = jax.tree.map(jnp.asarray, mlp())
    state, given = optimizer.init(params), list(batches())

    def deltas(params: Any, batch: Any) -> Any:
        def tail(shift: Any) -> Array:
            hidden = batch["x"] @ params["first"]["w"] + params["first"]["b"] + shift[0]
            out = jnp.tanh(hidden) @ params["last"]["w"] + params["last"]["b"] + shift[1]
            return scale * jnp.mean((out - batch["y"]) ** 2)

        return jax.grad(tail)([jnp.zeros((16, 8)), jnp.zeros((16, 2))])

    for step, record in enumerate(steps_of(records)):
        batch = given[step % 3]
        loss, gradients = jax.value_and_grad(loss_fn)(params, batch)
        updates, state = optimizer.update(gradients, state, params)
        after = optax.apply_updates(params, updates)
        assert record.step == step
        assert record.losses == pytest.approx([float(loss)], rel=1e-5)
        squares = sum(np.sum(np.square(np.asarray(g, np.float64))) for g in jax.tree.leaves(gradients))
        assert record.gradient_norm == pytest.approx(float(np.sqrt(squares)), rel=1e-4)
        expected = {
            "activation_rms": [rms(value) for value in outputs(params, batch["x"])],
            "delta_rms": [rms(value) for value in deltas(params, batch)],
            "gradient_rms": [rms(gradients[name]["w"]) for name in names],
            "weight_rms": [rms(after[name]["w"]) for name in names],
            "update_rms": [rms(after[name]["w"] - params[name]["w"]) for name in names],
        }
        for quantity, truth in expected.items():
            assert of(record, quantity) == pytest.approx(truth, rel=2e-4), (step, quantity)
        params = after
    for weight, leaf in zip(end.weights, jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(weight, leaf, rtol=1e-3, atol=1e-5)


def test_a_line_search_gets_the_loss_of_its_own_batch() -> None:
    (batch,), optimizer = batches(1), optax.lbfgs()
    records, _, _ = monitored(Problem(mlp_loss, mlp(), batch=batch, optimizer=optimizer), 4)
    params = jax.tree.map(jnp.asarray, mlp())
    state, losses = optimizer.init(params), []
    for _ in range(4):
        loss_of = partial(mlp_loss, batch=batch)
        value, gradients = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(
            gradients, state, params, value=value, grad=gradients, value_fn=loss_of
        )
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    assert [record.losses[0] for record in steps_of(records)] == pytest.approx(losses, rel=1e-3)


def test_gradients_that_change_by_decades_are_measured_at_the_gain_they_were_taken_at() -> None:
    """Sigmoid layers whose gradients lie near 1e-17, and one batch in ten a thousand times as large."""
    draw = np.random.default_rng(0)
    params = [{"w": (draw.normal(size=(8, 8)) / 3).astype(np.float32)} for _ in range(12)]

    def loss_fn(params: Any, x: Any) -> Array:
        for layer in params:
            x = jax.nn.sigmoid(x @ layer["w"])
        return 1e-9 * jnp.mean(x**2)

    given = [draw.normal(size=(4, 8)).astype(np.float32) * (1000 if place == 5 else 1) for place in range(10)]
    problem = Problem(loss_fn, params, batches=given, optimizer=optax.sgd(1e-2))
    records, end, _ = monitored(problem, 30)
    assert end.ending is Ending.COMPLETE
    for record in steps_of(records):
        gradient = jax.grad(loss_fn)(params, given[record.step % 10])
        expected = [np.asarray(layer["w"], np.float64) for layer in gradient]
        assert of(record, "gradient_rms") == pytest.approx([rms(each) for each in expected], rel=1e-3)


def test_losses_before_the_end_are_told_where_the_layers_were_not_measured() -> None:
    def loss_fn(params: Any, x: Any) -> Array:
        return jnp.mean((params["w"] * x) ** 2)

    given = [np.full(2, np.nan if place == 15 else 1.0, np.float32) for place in range(20)]
    problem = Problem(loss_fn, {"w": np.ones(2, np.float32)}, batches=given, optimizer=optax.sgd(0.01))
    records, end, _ = monitored(problem, 20, every=10)
    assert (end.ending, end.steps) == (Ending.NOT_FINITE, 16)
    last = records[-1]
    assert isinstance(last, LossRecord)
    assert (last.step, len(last.losses), math.isnan(last.losses[-1])) == (15, 5, True)


def test_params_over_two_devices() -> None:
    if jax.device_count() < 2:
        pytest.skip("one device")
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("d",))
    spread = jax.NamedSharding(mesh, jax.P(None, "d"))
    params = mlp()
    params["first"]["w"] = jax.device_put(params["first"]["w"], spread)
    problem = Problem(mlp_loss, params, batches=batches, optimizer=optax.adam(0.01))
    records, end, _ = monitored(problem, 5)
    alone, _, _ = monitored(Problem(mlp_loss, mlp(), batches=batches, optimizer=optax.adam(0.01)), 5)
    assert end.ending is Ending.COMPLETE
    for one, other in zip(steps_of(records), steps_of(alone), strict=True):
        assert np.array(one.values) == pytest.approx(np.array(other.values), rel=1e-3)


def test_the_layers_of_a_scanned_stack_and_its_steps_are_apart() -> None:
    draw = np.random.default_rng(0)
    params = {"layers": {"w": (draw.normal(size=(3, 5, 5)) / 2).astype(np.float32)}}

    def loss_fn(params: Any, x: Any) -> Array:
        out, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params["layers"]["w"])
        return jnp.mean(out**2)

    x = draw.normal(size=(4, 5)).astype(np.float32)
    records, _, names = monitored(Problem(loss_fn, params, x, optimizer=optax.sgd(0.1)), 2)
    gradient = jax.grad(loss_fn)(params, x)["layers"]["w"]
    assert names == ("layers[0]", "layers[1]", "layers[2]")
    first = steps_of(records)[0]
    assert of(first, "gradient_rms") == pytest.approx([rms(each) for each in gradient], rel=1e-5)
    assert of(first, "update_rms") == pytest.approx([rms(0.1 * each) for each in gradient], rel=1e-3)
    values, h = [], x
    for w in params["layers"]["w"]:
        values.append(rms(h @ w))
        h = np.tanh(h @ w)
    assert of(first, "activation_rms") == pytest.approx(values, rel=1e-5)


def test_a_branch_that_is_not_taken_has_no_value() -> None:
    def loss_fn(params: Any, batch: Any) -> Array:
        taken, x = batch
        out = jax.lax.cond(taken, lambda v: v @ params["a"]["w"], lambda v: v @ params["b"]["w"], x)
        return jnp.mean(out**2)

    params = {"a": {"w": np.ones((2, 2), np.float32)}, "b": {"w": np.ones((2, 2), np.float32)}}
    given = [(np.bool_(True), np.ones((3, 2), np.float32)), (np.bool_(False), np.ones((3, 2), np.float32))]
    records, _, names = monitored(Problem(loss_fn, params, batches=given, optimizer=optax.sgd(0.0)), 4)
    for record in steps_of(records):
        other = record.step % 2
        values = of(record, "activation_rms")
        assert values[names.index("ab"[other])] == 2.0
        assert math.isnan(values[names.index("ba"[other])])


def test_between_measured_steps_only_the_loss_is_known() -> None:
    problem = Problem(mlp_loss, mlp(), batches=batches, optimizer=optax.adam(0.01))
    all_steps = steps_of(monitored(problem, 8)[0])
    some = steps_of(monitored(problem, 8, every=3)[0])
    assert [record.step for record in some] == [0, 3, 6, 7]
    assert [len(record.losses) for record in some] == [1, 3, 3, 1]
    told = [loss for record in some for loss in record.losses]
    assert told == pytest.approx([record.losses[0] for record in all_steps], rel=1e-5)
    assert some[1].values == pytest.approx(np.array(all_steps[3].values), rel=1e-3)


def test_a_step_that_poisons_the_params_is_not_taken() -> None:
    def loss_fn(params: Any, x: Any) -> Array:
        return jnp.mean(jnp.sqrt(params["w"]) * x)

    optimizer = optax.sgd(0.3)
    params = {"w": np.array([0.4, 1.0], np.float32)}
    records, end, _ = monitored(Problem(loss_fn, params, np.ones(2, np.float32), optimizer=optimizer), 50)
    w = jnp.asarray(params["w"])
    taken = 0
    while np.isfinite(np.asarray(w - 0.3 * jax.grad(lambda v: jnp.mean(jnp.sqrt(v)))(w))).all():
        w = w - 0.3 * jax.grad(lambda v: jnp.mean(jnp.sqrt(v)))(w)
        taken += 1
    assert end.ending is Ending.NOT_FINITE
    assert end.steps == taken + 1
    assert steps_of(records)[-1].step == taken
    assert end.broken is not None
    batch, inputs = end.broken
    np.testing.assert_array_equal(batch, np.ones(2))
    np.testing.assert_allclose(inputs.weights[0], w, rtol=1e-5)


def test_a_bad_gradient_that_the_optimizer_drops_is_not_the_end() -> None:
    def loss_fn(params: Any, x: Any) -> Array:
        return jnp.mean(params["w"] * x)

    given = [np.array([1.0, np.nan if place == 1 else 1.0], np.float32) for place in range(3)]
    optimizer = optax.apply_if_finite(optax.sgd(0.1), 5)
    problem = Problem(loss_fn, {"w": np.ones(2, np.float32)}, batches=given, optimizer=optimizer)
    records, end, _ = monitored(problem, 6)
    assert end.ending is Ending.COMPLETE
    assert [math.isfinite(record.losses[0]) for record in steps_of(records)] == [True, False, True] * 2
    assert of(steps_of(records)[1], "gradient_rms") == (math.inf,)


def test_an_iterator_ends_and_is_gone_through_again_only_when_asked() -> None:
    def problem() -> Problem:
        return Problem(mlp_loss, mlp(), batches=batches(4), optimizer=optax.sgd(0.01))

    assert monitored(problem(), 10)[1].ending is Ending.DATA_ENDED
    assert monitored(problem(), 10)[1].steps == 4
    assert monitored(problem(), 10, repeat=True)[1].ending is Ending.COMPLETE


def test_no_batch_of_an_iterator_is_held() -> None:
    held: list[Callable[[], Any]] = []

    class Arrays(np.ndarray[Any, Any]):
        pass

    def endless() -> Iterator[Any]:
        import weakref

        while True:
            batch = np.ones(2, np.float32).view(Arrays)
            held.append(weakref.ref(batch))
            yield batch

    def loss_fn(params: Any, x: Any) -> Array:
        return jnp.mean(params["w"] * x)

    problem = Problem(loss_fn, {"w": np.ones(2, np.float32)}, batches=endless(), optimizer=optax.sgd(0.1))
    assert monitored(problem, 40)[1].ending is Ending.COMPLETE
    assert sum(one() is not None for one in held) < 12


def test_the_validation_batch_is_looked_at_between_steps() -> None:
    given = list(batches(2))
    problem = Problem(mlp_loss, mlp(), given[0], optimizer=optax.sgd(0.1))
    records, end, _ = monitored(problem, 4, validation=given[1], validate_every=2)
    found = [record for record in records if isinstance(record, ValidationRecord)]
    assert [record.step for record in found] == [0, 2, 4]
    assert found[0].loss == pytest.approx(float(mlp_loss(mlp(), given[1])), rel=1e-5)
    params = jax.tree.unflatten(jax.tree.structure(mlp()), end.weights)
    assert found[-1].loss == pytest.approx(float(mlp_loss(params, given[1])), rel=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16])
def test_what_rounding_leaves_of_an_update_is_what_is_recorded(dtype: Any) -> None:
    def loss_fn(params: Any, batch: Any) -> Array:
        return mlp_loss(params, batch).astype(jnp.float32)

    problem = Problem(loss_fn, mlp(dtype), batches=lambda: batches(dtype=dtype), optimizer=optax.sgd(1e-6))
    records, _, _ = monitored(problem, 2)
    assert of(steps_of(records)[0], "update_rms")[0] == 0.0
    assert of(steps_of(records)[0], "gradient_rms")[0] > 0.0


def poisoned(at: int, leaf: str) -> optax.GradientTransformation:
    """Gradient descent whose update of one leaf is NaN at one step: nothing of the gradient tells it."""

    def update(updates: Any, count: Any, params: Any = None) -> tuple[Any, Any]:
        bad = jnp.where(count == at, jnp.nan, 0.0)
        return {
            name: -0.01 * each + (bad if name == leaf else 0.0) for name, each in updates.items()
        }, count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


@pytest.mark.parametrize("leaf", ["w", "b"])
@pytest.mark.parametrize(
    ("at", "every", "count"), [(13, 1, 40), (13, 10, 40), (20, 10, 40), (0, 10, 40), (13, 10, 14)]
)
def test_the_weights_before_a_step_that_breaks_them_are_there(
    leaf: str, at: int, every: int, count: int
) -> None:
    """Measured or not, or as the last one of data that end; of a bias beside a larger weight, too."""

    def loss_fn(params: Any, x: Any) -> Array:
        return jnp.mean((x @ params["w"] + params["b"] - 1.0) ** 2)

    params = {"w": np.full((3, 2), 0.5, np.float32), "b": np.zeros(2, np.float32)}
    given = [np.full((4, 3), 1.0 + place, np.float32) / 10 for place in range(count)]
    problem = Problem(loss_fn, params, batches=iter(given), optimizer=poisoned(at, leaf))
    records, end, _ = monitored(problem, 50, every=every)
    expected = params
    for batch in given[:at]:
        gradient = jax.grad(loss_fn)(expected, batch)
        expected = jax.tree.map(lambda w, g: w - 0.01 * g, expected, gradient)
    assert (end.ending, end.steps) == (Ending.NOT_FINITE, at + 1)
    np.testing.assert_allclose(end.weights[0], expected["b"], rtol=1e-5)
    np.testing.assert_allclose(end.weights[1], expected["w"], rtol=1e-5)
    assert end.broken is not None
    np.testing.assert_array_equal(end.broken[0], given[at])
    losses = [
        loss for record in records if not isinstance(record, ValidationRecord)
        for loss in (record.losses if isinstance(record, StepRecord | LossRecord) else ())
    ]  # fmt: skip
    assert len(losses) == at + 1
    assert all(map(math.isfinite, losses))
