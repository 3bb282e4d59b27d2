"""An optimizer that measures its own steps, and the recording of a loop that is the user's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

import gradscope
from gradscope.errors import GradscopeError
from gradscope.recording.file import read
from gradscope.records import Ending, History
from gradscope.training.recorded import names_of_layers

PARAMS = {
    "first": {"w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), "b": np.ones(3, np.float32)},
    "last": {"w": np.linspace(1, 2, 6, dtype=np.float32).reshape(3, 2)},
    "scale": np.float32(2.0),
}
X = np.linspace(-2, 2, 20, dtype=np.float32).reshape(5, 4)


def loss_fn(params: Any, x: Any) -> Array:
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    return jnp.mean((params["scale"] * hidden @ params["last"]["w"]) ** 2)


def rms(value: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(value, np.float64)))))


def trained(
    optimizer: Any, path: Path, steps: int = 6, params: Any = PARAMS, loss: Any = loss_fn, **options: Any
) -> tuple[History, Any]:
    """A jitted loop that gives params and state away."""
    params = jax.tree.map(jnp.array, params)
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any, x: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(params, x)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    step = jax.jit(step.__wrapped__, donate_argnums=(0, 1))
    with gradscope.Recorder(str(path), **options) as recorder:
        for _ in range(steps):
            params, state, value = step(params, state, X)
            recorder.write(state, value)
    return read(str(path))[1], params


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_every_number_is_that_of_a_plain_loop(scale: float, tmp_path: Path) -> None:
    """At 1e±25 every square of a gradient leaves the range of float32: from the second step on the gain is
    known that they are taken at."""

    def scaled(params: Any, x: Any) -> Array:
        return scale * loss_fn(params, x)

    optimizer = optax.chain(optax.scale(1 / scale), optax.sgd(1e-3, momentum=0.9))
    found, last = trained(gradscope.recorded(optimizer), tmp_path / "run.jsonl", loss=scaled)
    assert [layer.name for layer in found.layers] == ["first", "last", "scale"]
    assert (found.steps, found.ending) == (6, Ending.COMPLETE)
    params = jax.tree.map(jnp.array, PARAMS)
    state = optimizer.init(params)
    for step in range(6):
        value, gradients = jax.value_and_grad(scaled)(params, X)
        updates, state = optimizer.update(gradients, state, params)
        after = optax.apply_updates(params, updates)
        assert found.losses.low[step] == pytest.approx(float(value), rel=1e-4)
        exact = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(gradients)]
        norm = math.sqrt(sum(float(np.sum(np.square(leaf))) for leaf in exact))
        if step or scale == 1:
            assert found.gradient_norms.low[step] == pytest.approx(norm, rel=1e-3, abs=0)
        for layer, main in zip(found.layers, (("first", "w"), ("last", "w"), ("scale",)), strict=True):
            gradient, weight, before = gradients, after, params
            for name in main:
                gradient, weight, before = gradient[name], weight[name], before[name]
            for extremes, truth in (
                (layer.gradient_rms, rms(gradient)),
                (layer.weight_rms, rms(weight)),
                (layer.update_rms, rms(np.asarray(weight, np.float64) - np.asarray(before, np.float64))),
            ):
                assert extremes is not None
                if step or scale == 1 or extremes is not layer.gradient_rms:
                    assert extremes.low[step] == pytest.approx(truth, rel=2e-3, abs=0)
            assert layer.delta_rms is None
        params = after
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), last, params)


def test_updates_are_the_same_bit_for_bit() -> None:
    plain, measured = optax.adamw(0.1), gradscope.recorded(optax.adamw(0.1), every=3)
    gradients = jax.grad(loss_fn)(PARAMS, X)

    def run(optimizer: Any) -> Any:
        state = optimizer.init(PARAMS)
        for _ in range(4):
            updates, state = optimizer.update(gradients, state, PARAMS)
        return updates

    jax.tree.map(np.testing.assert_array_equal, run(plain), run(measured))


def test_a_line_search_gets_its_arguments_and_finds_its_state(tmp_path: Path) -> None:
    optimizer = gradscope.recorded(optax.lbfgs())
    params: Any = jax.tree.map(jnp.array, PARAMS)
    state = optimizer.init(params)
    with gradscope.Recorder(str(tmp_path / "run.jsonl")) as recorder:
        for _ in range(3):
            value_and_grad = optax.value_and_grad_from_state(lambda params: loss_fn(params, X))
            value, gradients = value_and_grad(params, state=state)
            given = {"value": value, "grad": gradients, "value_fn": lambda params: loss_fn(params, X)}
            updates, state = optimizer.update(gradients, state, params, **given)
            params = optax.apply_updates(params, updates)
            recorder.write(state, value)
    assert int(optax.tree_utils.tree_get(state, "count")) == 3
    losses = read(str(tmp_path / "run.jsonl"))[1].losses.low
    assert losses[2] < losses[1] < losses[0]


def test_only_every_third_step_is_measured_and_all_losses_are_kept(tmp_path: Path) -> None:
    optimizer = gradscope.recorded(optax.sgd(0.01), every=3)
    found, _ = trained(optimizer, tmp_path / "run.jsonl", steps=7, every=3)
    assert (found.spans, found.steps, found.every) == ((0, 1, 4), 7, 3)


def test_it_is_called_every_so_many_steps(tmp_path: Path) -> None:
    optimizer = gradscope.recorded(optax.sgd(0.01))
    params, state = PARAMS, optimizer.init(PARAMS)
    with gradscope.Recorder(str(tmp_path / "run.jsonl"), steps=9) as recorder:
        for step in range(9):
            loss, gradients = jax.value_and_grad(loss_fn)(params, X)
            updates, state = optimizer.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
            if step % 4 == 0:
                recorder.write(state, loss)
    found = read(str(tmp_path / "run.jsonl"))[1]
    assert (found.spans, found.steps, found.asked) == ((0, 4, 8), 9, 9)


def test_inside_other_transformations_it_is_found(tmp_path: Path) -> None:
    """Gradient accumulation around it: only what the optimizer itself does is a step."""
    accumulated = optax.MultiSteps(gradscope.recorded(optax.sgd(0.01)), every_k_schedule=2)
    found, _ = trained(accumulated, tmp_path / "run.jsonl", steps=7)
    assert found.steps == 3


def test_a_gradient_that_is_not_finite_is_recorded_as_infinite(tmp_path: Path) -> None:
    def bad(params: Any, x: Any) -> Array:
        return loss_fn(params, x) + jnp.sum(jnp.sqrt(params["last"]["w"] - 1.0)) * 0

    optimizer = gradscope.recorded(optax.apply_if_finite(optax.sgd(0.01), 100))
    found, _ = trained(optimizer, tmp_path / "run.jsonl", loss=bad)
    assert found.nonfinite_gradient_at == 0
    last = found.layers[1]
    assert last.gradient_rms is not None
    assert last.update_rms is not None
    assert set(last.gradient_rms.low) == {math.inf}
    assert set(last.update_rms.low) == {0.0}


def test_what_bfloat16_rounds_away_is_no_update(tmp_path: Path) -> None:
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), PARAMS)
    found, _ = trained(gradscope.recorded(optax.sgd(1e-6)), tmp_path / "run.jsonl", params=params)
    last = found.layers[1].update_rms
    assert last is not None
    assert set(last.low) == {0.0}


def test_the_recording_is_judged_without_the_model(tmp_path: Path) -> None:
    from gradscope.runs.monitor import judged_recording

    path = tmp_path / "run.jsonl"
    optimizer = gradscope.recorded(optax.sgd(0.0))
    trained(optimizer, path, steps=60, name="train.py")
    report = judged_recording(str(path))
    assert report.target == "train.py"
    assert [finding.rule for finding in report.findings] == ["loss-not-decreasing"]


def test_wrong_uses_are_errors_that_say_what_to_do(tmp_path: Path) -> None:
    optimizer = gradscope.recorded(optax.sgd(0.1))
    state = optimizer.init(PARAMS)
    with pytest.raises(GradscopeError, match="got no params"):
        optimizer.update(PARAMS, state)
    with pytest.raises(GradscopeError, match="every is 0"):
        gradscope.recorded(optax.sgd(0.1), every=0)
    recorder = gradscope.Recorder(str(tmp_path / "run.jsonl"))
    with pytest.raises(GradscopeError, match="nothing recorded"):
        recorder.write(optax.adam(0.1).init(PARAMS))
    recorder.write(state, 1.0)
    with pytest.raises(GradscopeError, match="another model"):
        recorder.write(optimizer.init({"other": np.ones(2, np.float32)}))
    recorder.close()
    with pytest.raises(GradscopeError, match="exists already"):
        gradscope.Recorder(str(tmp_path / "run.jsonl"))


def test_an_exception_in_the_loop_leaves_a_recording_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    optimizer = gradscope.recorded(optax.sgd(0.1))
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)

    def loop() -> None:
        with gradscope.Recorder(str(path)) as recorder:
            recorder.write(state, 1.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        loop()
    assert read(str(path))[1].ending is Ending.INTERRUPTED


def test_flax_nnx_and_a_train_state(tmp_path: Path) -> None:
    nnx = pytest.importorskip("flax.nnx")
    train_state = pytest.importorskip("flax.training.train_state")

    class Model(nnx.Module):  # type: ignore[misc, name-defined]
        def __init__(self, rngs: Any) -> None:
            self.first, self.last = nnx.Linear(4, 3, rngs=rngs), nnx.Linear(3, 2, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.last(jnp.tanh(self.first(x)))

    model = Model(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gradscope.recorded(optax.adam(1e-2)), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any) -> Any:
        loss, gradients = nnx.value_and_grad(lambda m: jnp.mean(m(X) ** 2))(model)
        optimizer.update(model, gradients)
        return loss

    path = tmp_path / "nnx.jsonl"
    with gradscope.Recorder(str(path)) as recorder:
        for _ in range(3):
            recorder.write(optimizer, step(model, optimizer))
    found = read(str(path))[1]
    assert ([layer.name for layer in found.layers], found.steps) == (["first", "last"], 3)

    state = train_state.TrainState.create(apply_fn=None, params=PARAMS, tx=gradscope.recorded(optax.sgd(0.1)))
    path = tmp_path / "linen.jsonl"
    with gradscope.Recorder(str(path)) as recorder:
        for _ in range(2):
            state = state.apply_gradients(grads=jax.grad(loss_fn)(state.params, X))
            recorder.write(state)
    found = read(str(path))[1]
    assert (found.steps, found.losses.low) == (2, ())


def test_equinox_with_leaves_that_are_not_trained(tmp_path: Path) -> None:
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(4, 2, 3, 1, key=jax.random.key(0))
    optimizer = gradscope.recorded(optax.adam(1e-2))
    state = optimizer.init(eqx.filter(model, eqx.is_array))

    @eqx.filter_jit(donate="all")
    def step(model: Any, state: Any, x: Any) -> Any:
        loss, gradients = eqx.filter_value_and_grad(lambda m: jnp.mean(jax.vmap(m)(x) ** 2))(model)
        updates, state = optimizer.update(gradients, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, loss

    with gradscope.Recorder(str(tmp_path / "run.jsonl")) as recorder:
        for _ in range(3):
            model, state, loss = step(model, state, jnp.array(X))
            recorder.write(state, loss)
    found = read(str(tmp_path / "run.jsonl"))[1]
    assert [layer.name for layer in found.layers] == ["layers[0]", "layers[1]"]


def test_leaves_that_are_none_stand_where_they_stood(tmp_path: Path) -> None:
    """As of a layer without a bias in Equinox."""
    params = {"a": {"b": None, "w": np.full(3, 100.0, np.float32)}, "z": {"w": np.ones(3, np.float32)}}

    def loss(params: Any, x: Any) -> Array:
        del x
        return jnp.sum(params["z"]["w"]) + 100 * jnp.sum(params["a"]["w"])

    found, _ = trained(gradscope.recorded(optax.sgd(0.1)), tmp_path / "run.jsonl", params=params, loss=loss)
    first, last = (layer.gradient_rms for layer in found.layers)
    assert first is not None
    assert last is not None
    assert (first.low[0], last.low[0]) == (100.0, 1.0)


def test_a_training_that_is_taken_up_again_is_not_told_to_begin_at_0(tmp_path: Path) -> None:
    optimizer = gradscope.recorded(optax.sgd(0.01))
    state = optimizer.init(PARAMS)._replace(updates=jnp.asarray(5000, jnp.int32))
    params, gradients = PARAMS, jax.grad(loss_fn)(PARAMS, X)
    with gradscope.Recorder(str(tmp_path / "run.jsonl")) as recorder:
        for _ in range(3):
            _, state = optimizer.update(gradients, state, params)
            recorder.write(state, 1.0)
    found = read(str(tmp_path / "run.jsonl"))[1]
    assert (found.begun, found.steps, found.recorded_steps) == (5000, 5003, 3)


def a_state() -> tuple[Any, Any]:
    """Fresh, and after two updates."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), gradscope.recorded(optax.adam(0.01), every=2))
    fresh = state = optimizer.init(PARAMS)
    for _ in range(2):
        _, state = optimizer.update(jax.grad(loss_fn)(PARAMS, X), state, PARAMS)
    return fresh, state


def is_recorded_as_before(state: Any, path: Path) -> None:
    with gradscope.Recorder(str(path)) as recorder:
        recorder.write(state, 1.0)
    found = read(str(path))[1]
    assert [layer.name for layer in found.layers] == ["first", "last", "scale"]
    assert found.steps == 2


def test_flax_serialization_stores_the_state(tmp_path: Path) -> None:
    serialization = pytest.importorskip("flax.serialization")
    fresh, state = a_state()
    again = serialization.from_bytes(fresh, serialization.to_bytes(state))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    is_recorded_as_before(again, tmp_path / "run.jsonl")


@pytest.mark.filterwarnings("ignore")
def test_orbax_stores_the_state(tmp_path: Path) -> None:
    ocp = pytest.importorskip("orbax.checkpoint")
    fresh, state = a_state()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", {"opt_state": state})
        checkpointer.wait_until_finished()
        again = checkpointer.restore(tmp_path / "state", {"opt_state": fresh})["opt_state"]
    assert jax.tree.structure(again) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    is_recorded_as_before(again, tmp_path / "run.jsonl")


@pytest.mark.filterwarnings("ignore")
def test_flax_checkpoints_store_a_train_state(tmp_path: Path) -> None:
    checkpoints = pytest.importorskip("flax.training.checkpoints")
    train_state = pytest.importorskip("flax.training.train_state")
    optimizer = gradscope.recorded(optax.adam(0.1))
    params = jax.tree.map(jnp.array, PARAMS)
    fresh = state = train_state.TrainState.create(apply_fn=None, params=params, tx=optimizer)
    for _ in range(2):
        state = state.apply_gradients(grads=jax.grad(loss_fn)(state.params, X))
    checkpoints.save_checkpoint(tmp_path / "checkpoints", state, step=2)
    again = checkpoints.restore_checkpoint(tmp_path / "checkpoints", fresh)
    jax.tree.map(np.testing.assert_array_equal, again.opt_state, state.opt_state)
    is_recorded_as_before(again, tmp_path / "run.jsonl")


def test_a_pickle_and_a_state_of_shapes_alone_keep_the_names() -> None:
    import pickle

    _, state = a_state()
    again = pickle.loads(pickle.dumps(jax.device_get(state)))
    assert names_of_layers(again[1].layers) == ("first", "last", "scale")
    optimizer = gradscope.recorded(optax.sgd(0.1))
    assert jax.eval_shape(optimizer.init, PARAMS).layers.shape == optimizer.init(PARAMS).layers.shape
