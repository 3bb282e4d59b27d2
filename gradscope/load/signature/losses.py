"""Losses other than a `loss_fn`: those that `--loss` names, of outputs and targets, or compiled into a model.

They need the outputs of the model; how those are computed is known once the model is open.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp

from gradscope.errors import GradscopeError
from gradscope.load.message_text import did_you_mean, short_repr, type_name
from gradscope.load.model.frameworks.base import OpenedModel
from gradscope.load.model.frameworks.inputs import parts_of
from gradscope.load.model.frameworks.table import adapter_of
from gradscope.load.signature.keys import is_key_name, required_parameters
from gradscope.load.signature.unmatched import describe

Forward = Callable[[Any, Any, Any], Any]
"""`forward(model, x, key)`: the outputs."""
Compare = Callable[[Any, Any], Any]
"""`compare(outputs, targets)`: one number for each row, or their mean."""

OUTPUTS = (
    "y_pred", "pred", "preds", "prediction", "predictions", "logits", "outputs", "output", "y_hat", "yhat",
)  # fmt: skip
TARGETS = ("y_true", "labels", "label", "targets", "target", "y", "true")
ALIASES = {
    "cross-entropy": "softmax_cross_entropy", "binary-cross-entropy": "sigmoid_binary_cross_entropy",
    "mse": "squared_error", "mae": "mae", "l2": "l2_loss", "huber": "huber_loss", "log-cosh": "log_cosh",
    "hinge": "hinge_loss", "focal": "sigmoid_focal_loss",
}  # fmt: skip
"""Names of `--loss` -> names of `optax.losses`, which work too; `mae` is ours, optax has none."""
_BY_CLASS = ("softmax_cross_entropy", "softmax_cross_entropy_with_integer_labels")
_FORWARDS = ("apply", "predict", "forward", "model", "net", "network", "apply_fn", "model_fn")


@dataclass(frozen=True)
class OutputLoss:
    """A loss of outputs and targets. `with_model` makes it a loss of the model."""

    name: str
    compare: Compare | None
    """`None`: the loss is the model's own."""
    forward: Forward | None = None
    """Outputs of a model that has no adapter."""

    def with_model(self, model: OpenedModel | None) -> Callable[..., Any]:
        forward = (model.forward if model else None) or self.forward
        if self.compare is None:
            return _of_batch(self.name, model.own_loss if model else None)
        if forward is None:
            raise GradscopeError(
                f"The loss {self.name} needs the outputs of a model, and there is none.",
                why="A loss of outputs and targets needs a model object, or a function of params and inputs.",
                fix="Write `model = ...`, or `def apply(params, x): return outputs`, or a `loss_fn`.",
                slug="no-model",
            )
        return _of_batch(self.name, partial(_compared, self.compare, forward))

    def __call__(self, model: Any, batch: Any, key: Any) -> Any:
        raise NotImplementedError("a loss of outputs is called through with_model")


def bound(loss_fn: Callable[..., Any], model: OpenedModel | None) -> Callable[..., Any]:
    """The loss as a function of the model; only a loss of outputs depends on how they are computed."""
    return loss_fn.with_model(model) if isinstance(loss_fn, OutputLoss) else loss_fn


def named(name: str) -> OutputLoss:
    """The loss of that name: ours, or of `optax.losses`."""
    import optax.losses  # here, because it takes 80 ms to import and few files need it

    from gradscope.load.signature.label_losses import cross_entropy, elementwise

    own = ALIASES.get(name.lower(), name.replace("-", "_"))
    if own in _BY_CLASS:
        return OutputLoss(name, cross_entropy)
    function: Any = _absolute_error if own == "mae" else getattr(optax.losses, own, None)
    if own.startswith("_") or not _takes_two(function):
        raise GradscopeError(
            f'There is no loss "{name}".',
            why="`--loss` takes a name of ours or of `optax.losses`, of outputs and targets.",
            fix=did_you_mean(name, ALIASES) or f"Use one of: {', '.join(ALIASES)}.",
            slug="unknown-loss",
        )
    return OutputLoss(name, partial(elementwise, function, name, own == ALIASES["binary-cross-entropy"]))


def _absolute_error(outputs: Any, targets: Any) -> Any:
    return jnp.abs(outputs - targets)


def _takes_two(function: Any) -> bool:
    """Whether outputs and targets are all that a function asks for."""
    if not inspect.isfunction(function):
        return False
    return len(required_parameters(function)) <= 2 <= len(inspect.signature(function).parameters)


def of_outputs(function: Any, name: str = "loss_fn") -> OutputLoss | None:
    """A function of `(y_true, y_pred)` or `(logits, labels)`; `None` for any other."""
    names = [parameter.name.lower() for parameter in required_parameters(function)]
    if len(names) != 2 or not callable(function):
        return None
    if names[0] in OUTPUTS and names[1] in TARGETS:
        return OutputLoss(name, function)
    if names[0] in TARGETS and names[1] in OUTPUTS:
        return OutputLoss(name, lambda outputs, targets: function(targets, outputs))
    return None


def loss_in_file(names: Mapping[str, Any], wanted: str | None) -> OutputLoss | None:
    """What the file gives in place of a `loss_fn` of the usual form, or the one that `--loss` names."""
    found = named(wanted) if wanted is not None else _given(names.get("loss_fn"))
    if found is None and "loss_fn" not in names:
        found = _given(names.get("loss"))
        if found is None and any(getattr(value, "compiled", False) is True for value in names.values()):
            found = OutputLoss("the compiled loss", None)
    return None if found is None else replace(found, forward=_forward_in(names))


def _given(value: Any) -> OutputLoss | None:
    return named(value) if isinstance(value, str) else of_outputs(value) if callable(value) else None


def _forward_in(names: Mapping[str, Any]) -> Forward | None:
    """A blueprint, or a function of params and inputs."""
    for name in dict.fromkeys(("model", "net", "network", *_FORWARDS)):
        value = names.get(name)
        adapter = adapter_of(value)
        if adapter is not None and adapter.is_blueprint(value):
            return adapter.forward(value)
        if inspect.isroutine(value) and len(required_parameters(value)) in (2, 3):
            return _plain(value)
    return None


def _plain(function: Callable[..., Any]) -> Forward:
    takes_key = any(is_key_name(parameter.name) for parameter in required_parameters(function))

    def forward(params: Any, x: Any, key: Any) -> Any:
        return function(params, x, key) if takes_key else function(params, x)

    return forward


def _compared(compare: Compare, forward: Forward, model: Any, x: Any, y: Any, key: Any) -> Any:
    return jnp.mean(compare(forward(model, x, key), y))


def _of_batch(name: str, loss: Callable[[Any, Any, Any, Any], Any] | None) -> Callable[..., Any]:
    def loss_fn(model: Any, batch: Any, key: Any) -> Any:
        x, y = parts_of(batch)
        if x is None or y is None or loss is None:
            raise GradscopeError(
                f"The loss {name} needs inputs and targets.",
                why=f"The batch is {describe(batch)}.",
                fix="Give `batch = (x, y)` or a dict with the keys 'x' and 'y', or write a `loss_fn`.",
                slug="no-targets",
            )
        return loss(model, x, y, key)

    loss_fn.__name__ = name
    return loss_fn


def name_of(loss_fn: Any) -> str:
    """What the user calls a loss function; raises where it cannot be called."""
    if not callable(loss_fn):
        raise GradscopeError(
            f"loss_fn is {short_repr(loss_fn)}, of type {type_name(loss_fn)}: it cannot be called.",
            why="gradscope traces it as `loss_fn(params, batch)`.",
            fix="Give the function itself, not its result.",
            slug="no-loss-function",
        )
    if isinstance(loss_fn, OutputLoss):
        return loss_fn.name
    name = getattr(getattr(loss_fn, "func", loss_fn), "__name__", "loss_fn")
    return name if str(name).isidentifier() else "loss_fn"
