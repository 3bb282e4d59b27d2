"""Keras 3 on JAX: variables live in the model; in a stateless scope it runs on values of ours instead."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import keras
import optax

from gradscope.errors import GradscopeError
from gradscope.load.model.frameworks.base import (
    Adapter,
    Kinds,
    Loss,
    OpenedModel,
    OpeningContext,
    Path,
    nested,
    plain_call,
    unnested,
)
from gradscope.load.model.frameworks.inputs import parts_of
from gradscope.load.model.frameworks.stand_in import training_flags

LIST_ROLES = (
    "params", "parameters", "weights", "variables", "theta", "w", "p", "tv", "trainable",
    "trainable_variables", "trainable_weights", "trainable_params",
)  # fmt: skip
"""Parameters of a loss that get the list of trainable values, as `stateless_call` takes it."""
STATE_NAMES = (
    "non_trainable_variables", "non_trainable_weights", "non_trainable", "ntv", "state", "model_state",
)  # fmt: skip

_OPTAX_CALL = re.compile(
    r"optax\.(?P<name>\w+)\((?P<rate>[\d.e+-]+)(?P<more>(, (momentum|nesterov)=[\w.]+)*)\)"
)
_KERAS_NAMES = {
    "adadelta": "Adadelta", "adagrad": "Adagrad", "adam": "Adam", "adamax": "Adamax", "adamw": "AdamW",
    "lion": "Lion", "nadam": "Nadam", "rmsprop": "RMSprop", "sgd": "SGD",
}  # fmt: skip
"""By the name in optax."""


class Keras(Adapter):
    title = "Keras"

    def is_model(self, value: Any) -> bool:
        return isinstance(value, keras.Model) or _is_variables(value)

    def is_class(self, value: type) -> bool:
        return issubclass(value, keras.Model)

    def is_companion(self, value: Any) -> bool:
        kinds = (keras.layers.Layer, keras.losses.Loss, keras.metrics.Metric, keras.optimizers.Optimizer)
        return isinstance(value, kinds) or _is_variables(value)

    def open(self, value: Any, context: OpeningContext) -> OpenedModel:
        require_jax()
        if _is_variables(value):
            paths = variable_paths(value, "")
            return OpenedModel(
                params=nested(paths, [variable.value for variable in value]),
                call=plain_call(lambda params: unnested(paths, params)),
            )
        _build(value, context)
        return _opened(value, context)

    def transform_of(self, value: Any) -> Any:
        return _transform(value) if isinstance(value, keras.optimizers.Optimizer) else None

    def assignment(self, value: Any, code: str) -> str | None:
        if not isinstance(value, keras.optimizers.Optimizer | keras.Model):
            return None
        found = _OPTAX_CALL.fullmatch(code)
        name = _KERAS_NAMES.get(found["name"]) if found else None
        if found is None or name is None:
            return f"# Keras has no optimizer of this kind: {code}"
        return f"optimizer = keras.optimizers.{name}(learning_rate={found['rate']}{found['more'] or ''})"


def _opened(model: Any, context: OpeningContext) -> OpenedModel:
    trained, rest = model.trainable_variables, model.non_trainable_variables
    paths = variable_paths(trained, model.name)
    takes_list = context.role in LIST_ROLES and context.names.get(context.role) is not model

    def call(params: Any, loss: Loss) -> tuple[Any, Any]:
        values = unnested(paths, params)
        if takes_list:
            return loss(values), None
        mapping = list(zip(trained, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            result = loss(model)
            return result, [scope.get_current_value(variable) for variable in rest]

    state = [variable.value for variable in rest]
    seeds = [variable for variable in rest if variable.path.endswith("seed_generator_state")]

    def redraw(_: Any, key: Any) -> None:
        for number, seed in enumerate(seeds):
            seed.assign(jax.random.bits(jax.random.fold_in(key, number), seed.shape, seed.dtype))

    return OpenedModel(
        params=nested(paths, [variable.value for variable in trained]),
        call=call,
        kinds=_kinds(model),
        redraw=redraw if seeds else None,
        given={name: state for name in STATE_NAMES if name not in context.names},
        forward=_forward,
        own_loss=_compiled_loss if getattr(model, "compiled", False) and model.loss is not None else None,
        optimizer=_transform(model.optimizer) if getattr(model, "optimizer", None) is not None else None,
    )


def require_jax() -> None:
    backend = keras.backend.backend()
    if backend != "jax":
        raise GradscopeError(
            f'Keras runs on the backend "{backend}".',
            why="gradscope measures JAX programs; Keras chooses its backend once, when it is imported.",
            fix="Set KERAS_BACKEND=jax in the environment, or before `import keras`.",
            slug="keras-backend",
        )


def _build(model: Any, context: OpeningContext) -> None:
    """A model without an input shape gets its variables from the first call, here on one row of the batch."""
    if model.built and model.trainable_variables:
        return
    x = parts_of(context.batch)[0]
    if x is None:
        raise GradscopeError(
            f"The Keras model `{model.name}` has no variables yet.",
            why="Its first call builds it, and there is no batch to call it with.",
            fix="Give a batch, or start the model with `keras.Input(shape=...)`.",
            slug="no-params",
        )
    model(jax.tree_util.tree_map(lambda leaf: leaf[:1], x))


def _is_variables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, keras.Variable) for each in value)


def variable_paths(variables: Sequence[Any], model_name: str) -> list[Path]:
    """`dense/kernel` of each; without the model's own name. Equal paths get a number."""
    split = [tuple(variable.path.split("/")) for variable in variables]
    split = [path[1:] if len(path) > 2 and path[0] == model_name else path for path in split]
    paths: list[Path] = []
    for path in split:
        twins = sum(before == path for before in split[: len(paths)])
        paths.append((*path[:-1], f"{path[-1]}_{twins}") if twins else path)
    return paths


def _kinds(model: Any) -> Kinds:
    kinds: dict[tuple[str, ...], str] = {}
    for layer in model._flatten_layers():
        path = tuple((layer.path or layer.name).split("/"))
        kinds[path] = type(layer).__name__
        if path[0] == model.name and path[1:]:
            kinds.setdefault(path[1:], type(layer).__name__)
    return kinds


def _forward(model: Any, x: Any, key: Any) -> Any:
    return model(x, **{name: True for name in training_flags(model.call) if name == "training"})


def _compiled_loss(model: Any, x: Any, y: Any, key: Any) -> Any:
    """With the penalties of its layers, as `fit` would take it."""
    return model.compute_loss(x=x, y=y, y_pred=_forward(model, x, key))


def _transform(optimizer: Any) -> Any:
    """A Keras optimizer as an optax transform. Its variables are made for the arrays that `init` is given."""

    def twin(params: Any) -> Any:
        variables = [
            keras.Variable(jax.numpy.zeros(leaf.shape, leaf.dtype)) for leaf in jax.tree.leaves(params)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # Keras 3.15 reads its variables by an old way
            made = type(optimizer).from_config(optimizer.get_config())
        made.build(variables)
        return made

    def init(params: Any) -> Any:
        with jax.ensure_compile_time_eval():
            return [variable.value for variable in twin(params).variables]

    def update(gradients: Any, state: Any, params: Any) -> Any:
        with jax.ensure_compile_time_eval():
            made = twin(params)
        leaves, structure = jax.tree.flatten(params)
        after, state = made.stateless_apply(state, jax.tree.leaves(gradients), leaves)
        changes = [new - old for new, old in zip(after, leaves, strict=True)]
        return jax.tree.unflatten(structure, changes), state

    return optax.GradientTransformation(init, update)


ADAPTER = Keras()
