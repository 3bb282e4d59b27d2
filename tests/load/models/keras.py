"""Keras on JAX: compiled, with a loss of outputs, with a loss of the model, with lists of variables."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
import optax

from gradscope.load.signature.losses import OutputLoss, of_outputs
from tests.load.models.case import Case, Made

X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
Y = np.sin(X.sum(1, keepdims=True))
LAYERS = {"first": "Dense", "norm": "BatchNormalization", "out": "Dense"}


def network():
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Dense(4, activation="relu", kernel_regularizer="l2", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, seed=1, name="dropout"),
            layers.Dense(1, name="out"),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [keras.layers.Dense(4, activation="tanh", name=f"block_{i}") for i in range(2)]
        self.head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="inside")], name="head")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def made(model, loss_fn, run, kinds, optimizer=None):
    """`run(trainable, non_trainable)` is the loss written out by Keras' own stateless functions."""
    model(X[:1])
    trained = [variable.value for variable in model.trainable_variables]
    rest = [variable.value for variable in model.non_trainable_variables]
    loss, found = jax.value_and_grad(run)(trained, rest)
    paths = [variable.path.removeprefix(f"{model.name}/") for variable in model.trainable_variables]
    names = [path.replace("/", ".") for path in paths]
    return Made(
        model, loss_fn, (X, Y),
        loss=float(loss),
        weight=lambda name: model.trainable_variables[names.index(name)].value,
        gradient=lambda name: found[names.index(name)],
        kinds=kinds,
        parameters=tuple(names),
        optimizer=optimizer,
    )  # fmt: skip


def compiled():
    model = network()
    model.compile(optimizer="adam", loss="mse")

    def truth(trained, rest):
        model.optimizer.build(model.trainable_variables)
        variables = [variable.value for variable in model.optimizer.variables]
        metrics = [variable.value for variable in model.metrics_variables]
        return model.compute_loss_and_updates(
            trained, rest, metrics, X, Y, None, training=True, optimizer_variables=variables
        )[0]

    return made(model, OutputLoss("the compiled loss", None), truth, LAYERS)


def squared(model):
    def run(trained, rest):
        return ((model.stateless_call(trained, rest, X, training=True)[0] - Y) ** 2).mean()

    return run


def outputs():
    model = network()
    return made(model, of_outputs(keras.losses.MeanSquaredError()), squared(model), LAYERS)


def of_model():
    model = Subclassed()

    def loss_fn(model, batch):
        x, y = batch
        return ((model(x) - y) ** 2).mean()

    def run(trained, rest):
        return ((model.stateless_call(trained, rest, X)[0] - Y) ** 2).mean()

    kinds = {"block_0": "Dense", "block_1": "Dense", "head.inside": "Dense"}
    return made(model, loss_fn, run, kinds, optimizer=keras.optimizers.Adam(1e-3))


def of_lists():
    model = network()

    def loss_fn(trainable_variables, non_trainable_variables, x, y):
        outputs, state = model.stateless_call(trainable_variables, non_trainable_variables, x, training=True)
        return optax.squared_error(outputs, y).mean(), state

    return made(model, loss_fn, squared(model), LAYERS)


CASES = [
    Case("compiled, with a penalty", "keras", compiled),
    Case("a Keras loss of outputs", "keras", outputs),
    Case("a subclass and a Keras optimizer", "keras", of_model),
    Case("lists of variables", "keras", of_lists),
]
