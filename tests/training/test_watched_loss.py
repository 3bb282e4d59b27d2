"""`gradscope.Monitor`: loss and gradient are those of JAX, and the numbers those of a slow oracle."""

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
from gradscope.training.layer_vector import MeasuredStep

PARAMS = {
    "first": {"w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), "b": np.ones(3, np.float32)},
    "last": {"w": np.linspace(0.5, 1, 6, dtype=np.float32).reshape(3, 2)},
}
X = np.linspace(-2, 2, 20, dtype=np.float32).reshape(5, 4)


def loss_fn(params: Any, x: Any, shifts: Any = (0.0, 0.0), scale: float = 1.0) -> Array:
    """`shifts` are added to the outputs of the layers: the gradient by them is δ."""
    z = x @ params["first"]["w"] + params["first"]["b"] + shifts[0]
    out = jnp.tanh(z) @ params["last"]["w"] + shifts[1]
    return scale * jnp.mean(out**2)


def rms(value: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(value, np.float64)))))


def exact(params: Any, x: Any, scale: float = 1.0) -> list[list[float]]:
    """By layer: the four numbers, the slow way and in float64 where the squares are taken."""
    z = x @ params["first"]["w"] + params["first"]["b"]
    outs = z, jnp.tanh(z) @ params["last"]["w"]
    delta = jax.grad(loss_fn, argnums=2)(params, x, tuple(map(jnp.zeros_like, outs)), scale)
    gradient = jax.grad(loss_fn)(params, x, scale=scale)
    return [
        [rms(out), rms(of_delta), rms(gradient[name]["w"]), rms(params[name]["w"])]
        for name, out, of_delta in zip(("first", "last"), outs, delta, strict=True)
    ]


def numbers_of(step: MeasuredStep) -> list[list[Any]]:
    return [
        [layer.activation_rms, layer.delta_rms, layer.gradient_rms, layer.weight_rms] for layer in step.layers
    ]


@pytest.mark.parametrize("scale", [1.0, 1e-32, 1e25])
def test_every_number_is_that_of_a_slow_oracle(scale: float) -> None:
    """At 1e-32 and 1e25 every square of δ and of a gradient leaves the range of float32."""

    def scaled(params: Any, x: Any) -> Array:
        return loss_fn(params, x, scale=scale)

    monitor = gradscope.Monitor(scaled)
    loss, gradient, numbers = jax.jit(monitor.value_and_grad)(PARAMS, X)
    want = jax.jit(jax.value_and_grad(scaled))(PARAMS, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), (loss, gradient), want)
    found = monitor.read(numbers)
    assert [layer.name for layer in found.layers] == ["first", "last"]
    np.testing.assert_allclose(numbers_of(found), exact(PARAMS, X, scale), rtol=1e-4)
    whole = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(want[1])]
    assert found.gradient_norm == pytest.approx(math.sqrt(sum(float(np.sum(g**2)) for g in whole)), rel=1e-4)
    source = found.layers[0].source
    assert source is not None
    assert "@" in Path(__file__).read_text().splitlines()[source.line - 1]
    assert numbers.dtype == jnp.float32


def as_jax(found: Any, want: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, want)


def test_a_donated_step_is_recorded_and_judged_by_the_same_rules(tmp_path: Path) -> None:
    from gradscope.recording.file import read
    from gradscope.runs.monitor import judged_recording

    monitor, optimizer = gradscope.Monitor(loss_fn), optax.sgd(0.0)
    params = jax.tree.map(jnp.array, PARAMS)
    state = optimizer.init(params)

    def step(params: Any, state: Any, x: Any) -> Any:
        loss, gradient, numbers = monitor.value_and_grad(params, x)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss, numbers

    step = jax.jit(step, donate_argnums=(0, 1))
    path = str(tmp_path / "run.jsonl")
    with gradscope.Recorder(path, name="train.py", steps=60, monitor=monitor) as recorder:
        for _ in range(60):
            params, state, loss, numbers = step(params, state, X)
            recorder.write(numbers, loss)
    heading, history = read(path)
    assert heading.quantities == ("activation_rms", "delta_rms", "gradient_rms", "weight_rms")
    assert (history.steps, history.spans) == (60, tuple(range(60)))
    want = exact(PARAMS, X)
    for layer, numbers_of_layer in zip(history.layers, want, strict=True):
        assert layer.delta_rms is not None
        assert layer.delta_rms.low[59] == pytest.approx(numbers_of_layer[1], rel=1e-4)
        assert layer.update_rms is None
    report = judged_recording(path)
    assert [finding.rule for finding in report.findings] == ["loss-not-decreasing"]


def test_what_a_step_changed_is_recorded_where_it_is_given(tmp_path: Path) -> None:
    from gradscope.recording.file import read

    monitor, optimizer = gradscope.Monitor(loss_fn), optax.adam(0.1)
    params = jax.tree.map(jnp.array, PARAMS)
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any, x: Any) -> Any:
        loss, gradient, numbers = monitor.value_and_grad(params, x)
        updates, state = optimizer.update(gradient, state, params)
        after = optax.apply_updates(params, updates)
        return after, state, loss, monitor.with_update(numbers, params, after)

    path = str(tmp_path / "run.jsonl")
    with gradscope.Recorder(path, monitor=monitor) as recorder:
        for _ in range(3):
            before = params
            params, state, loss, numbers = step(params, state, X)
            recorder.write(numbers, loss)
    found, history = monitor.read(numbers), read(path)[1]
    for layer, record, name in zip(found.layers, history.layers, ("first", "last"), strict=True):
        changed = np.asarray(params[name]["w"], np.float64) - np.asarray(before[name]["w"], np.float64)
        assert layer.update_rms == pytest.approx(rms(changed), rel=1e-4)
        assert layer.weight_rms == pytest.approx(rms(params[name]["w"]), rel=1e-4)
        assert layer.delta_rms == pytest.approx(exact(before, X)[name == "last"][1], rel=1e-3)
        assert record.update_rms is not None
        assert record.update_rms.low[2] == pytest.approx(layer.update_rms, rel=1e-4)
    whole = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(jax.grad(loss_fn)(before, X))])
    assert found.gradient_norm == pytest.approx(float(jnp.linalg.norm(whole)), rel=1e-3)
    with pytest.raises(GradscopeError, match="does not fit the numbers"):
        monitor.with_update(numbers[:5], before, params)
    with pytest.raises(GradscopeError, match="are the same arrays"):
        monitor.with_update(numbers, params, params)


def test_steps_that_are_not_measured_keep_their_losses(tmp_path: Path) -> None:
    from gradscope.recording.file import read

    monitor = gradscope.Monitor(loss_fn)
    measured, plain = jax.jit(monitor.value_and_grad), jax.jit(jax.value_and_grad(loss_fn))
    path = str(tmp_path / "run.jsonl")
    with gradscope.Recorder(path, every=3, monitor=monitor) as recorder:
        for step in range(8):
            loss, _, *numbers = measured(PARAMS, X) if step % 3 == 0 else plain(PARAMS, X)
            recorder.write(numbers[0] if numbers else None, loss + step)
    history = read(path)[1]
    assert (history.spans, history.steps, history.every) == ((0, 1, 4), 8, 3)
    first = float(plain(PARAMS, X)[0])
    assert history.losses.low == pytest.approx((first, first + 1, first + 4), rel=1e-4)
    assert history.losses.high == pytest.approx((first, first + 3, first + 7), rel=1e-4)


def test_steps_inside_a_scan_are_recorded_each(tmp_path: Path) -> None:
    from gradscope.recording.file import read

    monitor = gradscope.Monitor(loss_fn)

    @jax.jit
    def several(params: Any, xs: Any) -> Any:
        def step(params: Any, x: Any) -> Any:
            loss, gradient, numbers = monitor.value_and_grad(params, x)
            return jax.tree.map(lambda w, g: w - 0.1 * g, params, gradient), (loss, numbers)

        return jax.lax.scan(step, params, xs)

    params, path = jax.tree.map(jnp.array, PARAMS), str(tmp_path / "run.jsonl")
    with gradscope.Recorder(path, monitor=monitor) as recorder:
        for _ in range(2):
            params, (losses, numbers) = several(params, np.stack([X, 2 * X, X]))
            recorder.write(numbers, losses)
        with pytest.raises(GradscopeError, match=r"of 3 steps, and the loss has the shape \(\)"):
            recorder.write(numbers, losses[0])
    history = read(path)[1]
    assert (history.spans, history.steps) == (tuple(range(6)), 6)
    assert history.losses.low[0] == pytest.approx(float(loss_fn(PARAMS, X)), rel=1e-5)
    assert history.losses.low[3] == pytest.approx(float(losses[0]), abs=2.0)


def test_gradient_accumulation_gives_the_numbers_of_each_micro_batch() -> None:
    monitor = gradscope.Monitor(loss_fn)

    @jax.jit
    def accumulated(params: Any, xs: Any) -> Any:
        def body(total: Any, x: Any) -> Any:
            _, gradient, numbers = monitor.value_and_grad(params, x)
            return jax.tree.map(jnp.add, total, gradient), numbers

        return jax.lax.scan(body, jax.tree.map(jnp.zeros_like, params), xs)

    total, numbers = accumulated(PARAMS, np.stack([X, 2 * X]))
    as_jax(total, jax.tree.map(jnp.add, jax.grad(loss_fn)(PARAMS, X), jax.grad(loss_fn)(PARAMS, 2 * X)))
    found = monitor.read(numbers[1])
    np.testing.assert_allclose(numbers_of(found), exact(PARAMS, 2 * X), rtol=1e-4)


def test_batches_of_several_shapes_are_traced_each_and_other_layers_are_refused() -> None:
    monitor = gradscope.Monitor(loss_fn)
    step = jax.jit(monitor.value_and_grad)
    for x in (X, X[:2], X[:3]):
        found = monitor.read(step(PARAMS, x)[2])
        np.testing.assert_allclose(numbers_of(found), exact(PARAMS, x), rtol=1e-4)
    renamed = gradscope.Monitor(lambda params, x: sum(jnp.sum(x @ w) for w in params.values()))
    renamed.value_and_grad({"one": np.ones((4, 2), np.float32)}, X)
    with pytest.raises(GradscopeError, match="other layers than when it was first traced"):
        renamed.value_and_grad({"two": np.ones((4, 2), np.float32)}, X)


def test_the_layers_of_a_loop_are_told_apart_and_what_none_has_is_none() -> None:
    def scanned(params: Any, x: Any) -> Array:
        def layer(h: Any, w: Any) -> Any:
            return jnp.tanh(h @ w), None

        return jnp.mean(jax.lax.scan(layer, x, params["stack"])[0] ** 2) + jnp.sum(params["idle"]) * 0

    params = {
        "stack": np.linspace(-1, 1, 48, dtype=np.float32).reshape(3, 4, 4),
        "idle": np.ones(2, np.float32),
    }
    monitor = gradscope.Monitor(scanned)
    found = monitor.read(jax.jit(monitor.value_and_grad)(params, X)[2])
    by_name = {layer.name: layer for layer in found.layers}
    gradient = jax.grad(scanned)(params, X)["stack"]
    for place in range(3):
        layer = by_name[f"stack[{place}]"]
        assert layer.gradient_rms == pytest.approx(rms(gradient[place]), rel=1e-4)
        assert layer.weight_rms == pytest.approx(rms(params["stack"][place]), rel=1e-4)
        assert layer.delta_rms
    assert by_name["idle"].gradient_rms == 0


def test_large_stacked_leaves_are_measured_layer_by_layer() -> None:
    def scanned(params: Any, x: Any) -> Array:
        def layer(h: Any, w: Any) -> Any:
            return jnp.tanh(h @ w), None

        return jnp.mean(jax.lax.scan(layer, x, params["stack"])[0] ** 2)

    draw = np.random.default_rng(0)
    stack = (draw.normal(size=(3, 96, 96)) * np.array([1.0, 1e-25, 0.1]).reshape(3, 1, 1)).astype(np.float32)
    monitor = gradscope.Monitor(scanned)
    x = draw.normal(size=(4, 96)).astype(np.float32)
    found = monitor.read(jax.jit(monitor.value_and_grad)({"stack": stack}, x)[2])
    for place, layer in enumerate(found.layers):
        assert layer.weight_rms == pytest.approx(rms(stack[place]), rel=1e-4)


def test_bfloat16_keeps_its_bits() -> None:
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), PARAMS)
    x = jnp.asarray(X, jnp.bfloat16)
    monitor = gradscope.Monitor(loss_fn)
    loss, gradient, numbers = jax.jit(monitor.value_and_grad)(params, x)
    want = jax.jit(jax.value_and_grad(loss_fn))(params, x)
    jax.tree.map(np.testing.assert_array_equal, (loss, gradient), want)
    np.testing.assert_allclose(numbers_of(monitor.read(numbers)), exact(params, x), rtol=0.05)
    assert (gradient["last"]["w"].dtype, numbers.dtype) == (jnp.bfloat16, jnp.float32)


def test_what_is_not_finite_is_infinite_and_a_large_leaf_is_measured_at_any_scale() -> None:
    def loss(params: Any, x: Any) -> Array:
        return jnp.sum(x * params["w"])

    monitor = gradscope.Monitor(loss)
    step = jax.jit(monitor.value_and_grad)
    for scale in (1e-30, 1.0, 1e25, math.nan):
        x = np.full((200, 200), scale, np.float32)
        found = monitor.read(step({"w": np.ones((200, 200), np.float32)}, x)[2]).layers[0]
        want = pytest.approx(scale, rel=1e-4) if math.isfinite(scale) else math.inf
        assert found.gradient_rms == want
        assert found.weight_rms == pytest.approx(1.0)


def test_aux_static_arguments_and_leaves_that_are_not_floating() -> None:
    def loss(params: Any, x: Any, key: Any, *, train: bool) -> Any:
        assert train is True
        noise = jax.random.normal(key, x.shape)
        return params["heads"] * loss_fn(params, x + noise), {"noise": noise, "name": "mine", "count": 3}

    monitor, params = gradscope.Monitor(loss, has_aux=True), {**PARAMS, "heads": 2}

    @jax.jit
    def step(weights: Any, x: Any, key: Any) -> Any:
        (value, aux), gradient, _ = monitor.value_and_grad({**weights, "heads": 2}, x, key, train=True)
        assert (aux["name"], aux["count"], gradient["heads"]) == ("mine", 3, None)
        return (value, aux["noise"]), {**gradient, "heads": 0.0}

    def plain(weights: Any) -> Any:
        value, aux = loss({**weights, "heads": 2}, X, jax.random.key(1), train=True)
        return value, aux["noise"]

    assert params["heads"] == 2
    want = jax.value_and_grad(plain, has_aux=True)(PARAMS)
    (value, noise), gradient = step(PARAMS, X, jax.random.key(1))
    as_jax(((value, noise), {name: gradient[name] for name in PARAMS}), want)


def test_a_batch_that_the_loss_closes_over_is_data() -> None:
    found = []

    @jax.jit
    def step(params: Any, x: Any) -> Any:
        monitor = gradscope.Monitor(lambda params: loss_fn(params, x))
        found.append(monitor)
        return monitor.value_and_grad(params)

    numbers = step(PARAMS, X)[2]
    np.testing.assert_allclose(numbers_of(found[0].read(numbers)), exact(PARAMS, X), rtol=1e-4)


def test_flax_nnx_keeps_its_running_statistics_and_random_streams() -> None:
    nnx = pytest.importorskip("flax.nnx")

    class Model(nnx.Module):  # type: ignore[misc, name-defined]
        def __init__(self, rngs: Any) -> None:
            self.first, self.norm = nnx.Linear(4, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
            self.drop, self.last = nnx.Dropout(0.5), nnx.Linear(8, 2, rngs=rngs)

        def __call__(self, x: Any, rngs: Any) -> Any:
            return self.last(self.drop(nnx.relu(self.norm(self.first(x))), rngs=rngs))

    def loss(model: Any, x: Any, rngs: Any) -> Array:
        return jnp.mean(model(x, rngs) ** 2)

    monitor = gradscope.Monitor(loss)

    def trained(value_and_grad: Any) -> Any:
        model, rngs = Model(nnx.Rngs(0)), nnx.Rngs(7)
        optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

        @nnx.jit
        def step(model: Any, optimizer: Any, x: Any, rngs: Any) -> Any:
            before = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))
            value, gradient, *numbers = value_and_grad(model, x, rngs)
            optimizer.update(model, gradient)
            return value, [monitor.with_update(each, before, model) for each in numbers]

        done = [step(model, optimizer, X, rngs) for _ in range(3)]
        state = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
        return [value for value, _ in done], state, done[-1][1]

    losses, state, (numbers,) = trained(monitor.value_and_grad)
    want_losses, want_state, _ = trained(nnx.value_and_grad(loss))
    np.testing.assert_allclose(losses, want_losses, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), state, want_state)
    layers = monitor.read(numbers).layers
    assert [layer.name for layer in layers] == ["first", "norm", "last"]
    # Adam at 0.01 changes each weight by about as much.
    assert all(0.002 < (layer.update_rms or 0) < 0.02 for layer in layers)


def test_equinox_gives_a_gradient_of_the_same_structure() -> None:
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(4, 2, 8, 2, key=jax.random.key(0))

    def loss(model: Any, x: Any) -> Array:
        return jnp.mean(jax.vmap(model)(x) ** 2)

    monitor = gradscope.Monitor(loss)
    *found, numbers = eqx.filter_jit(monitor.value_and_grad)(model, X)
    want = eqx.filter_jit(eqx.filter_value_and_grad(loss))(model, X)
    assert jax.tree.structure(found[1]) == jax.tree.structure(want[1])
    as_jax(tuple(found), want)
    assert [layer.name for layer in monitor.read(numbers).layers] == ["layers[0]", "layers[1]", "layers[2]"]


def test_haiku() -> None:
    hk = pytest.importorskip("haiku")
    net = hk.transform(lambda x: hk.nets.MLP([8, 2])(x))
    params = net.init(jax.random.key(0), X)

    def loss(params: Any, key: Any, x: Any) -> Array:
        return jnp.mean(net.apply(params, key, x) ** 2)

    monitor = gradscope.Monitor(loss)
    *found, numbers = jax.jit(monitor.value_and_grad)(params, jax.random.key(1), X)
    as_jax(tuple(found), jax.value_and_grad(loss)(params, jax.random.key(1), X))
    assert [layer.name for layer in monitor.read(numbers).layers] == ["mlp/~/linear_0", "mlp/~/linear_1"]


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
@pytest.mark.parametrize("how", ["jit", "shard_map", "unchecked shard_map"])
def test_a_batch_over_two_devices(how: str) -> None:
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    x = np.concatenate([X, X[:1] * 3])
    monitor = gradscope.Monitor(loss_fn)
    plain = jax.value_and_grad(loss_fn)

    def on_each(run: Any) -> Any:
        def step(params: Any, x: Any) -> Any:
            value, gradient, *numbers = run(params, x)
            mean = jax.lax.pmean((value, gradient), "data")
            return *mean, *(each[None] for each in numbers)

        checked = how == "shard_map"
        out = (P(), P(), P("data"))[: 3 if run is not plain else 2]
        return jax.jit(
            jax.shard_map(step, mesh=mesh, in_specs=(P(), P("data")), out_specs=out, check_vma=checked)
        )

    if how == "jit":
        placed = jax.device_put(x, NamedSharding(mesh, P("data")))
        *found, numbers = jax.jit(monitor.value_and_grad)(PARAMS, placed)
        as_jax(tuple(found), plain(PARAMS, x))
        np.testing.assert_allclose(numbers_of(monitor.read(numbers)), exact(PARAMS, x), rtol=1e-4)
        return
    *found, numbers = on_each(monitor.value_and_grad)(PARAMS, x)
    as_jax(tuple(found), on_each(plain)(PARAMS, x))
    for device, part in enumerate((x[:3], x[3:])):
        of_layers = numbers_of(monitor.read(numbers[device]))
        # With `check_vma` JAX itself adds the gradients of all devices up.
        columns = [0, 1, 3] if how == "shard_map" else [0, 1, 2, 3]
        np.testing.assert_allclose(
            np.array(of_layers)[:, columns], np.array(exact(PARAMS, part))[:, columns], rtol=1e-4
        )


def test_wrong_uses_are_errors_that_say_what_to_do(tmp_path: Path) -> None:
    monitor = gradscope.Monitor(loss_fn)
    with pytest.raises(GradscopeError, match="not the numbers"):
        gradscope.Recorder(str(tmp_path / "run.jsonl"), monitor=monitor).write(optax.adam(1.0).init(PARAMS))
    numbers = monitor.value_and_grad(PARAMS, X)[2]
    with pytest.raises(GradscopeError, match=r"not the numbers .* shape \(2, 13\)"):
        monitor.read(np.stack([numbers, numbers]))
    with pytest.raises(GradscopeError, match="cannot be called"):
        gradscope.Monitor(1.0)  # type: ignore[arg-type]
    with pytest.raises(GradscopeError, match="not a scalar"):
        gradscope.Monitor(lambda params, x: x @ params["w"]).value_and_grad({"w": np.ones(4, np.float32)}, X)
    with pytest.raises(GradscopeError, match="no pair"):
        gradscope.Monitor(loss_fn, has_aux=True).value_and_grad(PARAMS, X)
    with pytest.raises(GradscopeError, match="no floating leaf"):
        monitor.value_and_grad({"w": np.ones(4, np.int32)}, X)
    recorder = gradscope.Recorder(str(tmp_path / "more.jsonl"), monitor=monitor)
    recorder.write(numbers, 1.0, step=5)
    with pytest.raises(GradscopeError, match="Step 5 was recorded already"):
        recorder.write(numbers, 1.0, step=5)
    recorder.close()
