"""A Keras model trained by its own `fit` learns the same with the callback, and is recorded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras")

import gradscope  # noqa: E402
from gradscope.errors import GradscopeError  # noqa: E402
from gradscope.recording.file import read  # noqa: E402

X = np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)
Y = np.sin(X[:, :1])


def model(**compiled: Any) -> Any:
    keras.utils.set_random_seed(1)
    made = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, name="out"),
        ]
    )
    made.compile(optimizer="adam", loss="mse", metrics=["mae"], **compiled)
    return made


def fitted(callbacks: list[Any], epochs: int = 2, made: Any = None, **options: Any) -> Any:
    made = model() if made is None else made
    done = made.fit(
        X, Y, batch_size=16, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks, **options
    )
    return made, done.history


def test_it_learns_the_same_and_every_layer_is_recorded(tmp_path: Path) -> None:
    path = str(tmp_path / "run.jsonl")
    plain, want = fitted([], validation_data=(X, Y))
    made, found = fitted([gradscope.keras_callback(path)], validation_data=(X, Y))
    assert set(found) == set(want)
    for name in want:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-3)
    for one, other in zip(made.weights, plain.weights, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-2, atol=1e-4)
    heading, history = read(path)
    assert heading.target == made.name
    assert [layer.name for layer in history.layers] == ["hidden", "norm", "out"]
    assert (history.steps, history.spans) == (6, tuple(range(6)))
    assert [look.step for look in history.validation] == [3, 6]
    assert history.validation[1].loss == pytest.approx(want["val_loss"][1], rel=1e-3)
    assert np.mean(history.mean_losses[:3]) == pytest.approx(want["loss"][0], rel=1e-3)
    for layer in history.layers:
        assert layer.delta_rms is not None
        assert min(layer.delta_rms.low) > 0


def test_the_first_numbers_are_those_of_jax(tmp_path: Path) -> None:
    path = str(tmp_path / "run.jsonl")
    made = model()
    variables, rest = (
        [each.value for each in of] for of in (made.trainable_variables, made.non_trainable_variables)
    )
    copies = jax.tree.map(jnp.array, (variables, rest))

    def loss(values: Any) -> Any:
        y, _ = made.stateless_call(values, copies[1], X[:16], training=True)
        return jnp.mean((y - Y[:16]) ** 2)

    gradients = jax.grad(loss)(copies[0])
    fitted([gradscope.keras_callback(path)], epochs=1, made=made)
    history = read(path)[1]
    for layer, kernel in ((history.layers[0], 0), (history.layers[2], 4)):
        assert layer.gradient_rms is not None
        rms = float(np.sqrt(np.mean(np.square(gradients[kernel]))))
        assert layer.gradient_rms.low[0] == pytest.approx(rms, rel=1e-3)


def test_every_other_batch_and_a_second_fit_without_it(tmp_path: Path) -> None:
    path = str(tmp_path / "run.jsonl")
    made, _ = fitted([gradscope.keras_callback(path, name="mine", every=2)])
    heading, history = read(path)
    assert (heading.target, heading.every, history.steps) == ("mine", 2, 6)
    assert history.spans == (0, 2, 4)
    before = Path(path).read_bytes()
    fitted([], made=made)
    fitted([gradscope.keras_callback(str(tmp_path / "more.jsonl"))], made=made)
    assert Path(path).read_bytes() == before
    assert read(str(tmp_path / "more.jsonl"))[1].steps == 6


def test_what_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    class Own(keras.Model):  # type: ignore[misc]
        def train_step(self, state: Any, data: Any) -> Any:
            return super().train_step(state, data)

    inputs = keras.Input((4,))
    made = Own(inputs, keras.layers.Dense(1)(inputs))
    made.compile(optimizer="sgd", loss="mse")
    with pytest.raises(GradscopeError, match="cannot be recorded by a callback"):
        fitted([gradscope.keras_callback(str(tmp_path / "run.jsonl"))], made=made)
    with pytest.raises(GradscopeError, match="every is 0"):
        gradscope.keras_callback("run.jsonl", every=0)
