"""A training state: an object that holds params and optimizer state, from Flax or of the user's own."""

from __future__ import annotations

import dataclasses
from typing import Any

from gradscope.load.model.frameworks.base import Adapter, OpenedModel, OpeningContext, plain_call
from gradscope.load.model.frameworks.table import adapter_of, opened
from gradscope.load.model.optimizer_state import resumed, state_note

STATE_NAMES = ("state", "train_state", "training_state", "ts", "tstate", "learner_state")
_STATES = ("batch_stats", "model_state", "net_state", "extra_variables", "graphdef", "static")


class TrainState(Adapter):
    title = "TrainState"

    def is_model(self, value: Any) -> bool:
        kind = type(value)
        if kind is type or not (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
            return False
        return hasattr(value, "params") and hasattr(value, "opt_state")

    def is_class(self, value: type) -> bool:
        return False

    def open(self, value: Any, context: OpeningContext) -> OpenedModel:
        inner = opened(value.params, context) or OpenedModel(value.params, plain_call(lambda params: params))
        takes_state = context.role in STATE_NAMES or context.names.get(context.role) is value

        def call(params: Any, loss: Any) -> tuple[Any, Any]:
            if not takes_state:
                return inner.call(params, loss)
            return inner.call(params, lambda own: loss(_with(value, params=own)))

        states = {name: getattr(value, name) for name in _STATES if getattr(value, name, None) is not None}
        return dataclasses.replace(
            inner,
            call=call,
            given={**inner.given, **{n: each for n, each in states.items() if n not in context.names}},
            forward=_forward(value, takes_state),
            optimizer=resumed(_transform(value), value.opt_state),
            notes=(*inner.notes, *state_note(value.opt_state)),
        )

    def transform_of(self, value: Any) -> Any:
        return _transform(value) if self.is_model(value) else None

    def assignment(self, value: Any, code: str) -> str | None:
        return f"tx = {code}" if self.is_model(value) else None

    def optimizer_state(self, value: Any) -> Any:
        return value.opt_state


def _with(state: Any, **changes: Any) -> Any:
    return state._replace(**changes) if hasattr(state, "_replace") else dataclasses.replace(state, **changes)


def _transform(state: Any) -> Any:
    return next((getattr(state, name) for name in ("tx", "optimizer") if hasattr(state, name)), None)


def _forward(state: Any, takes_state: bool) -> Any:
    apply = getattr(state, "apply_fn", None)
    if apply is None:
        return None
    rest = {"batch_stats": state.batch_stats} if getattr(state, "batch_stats", None) is not None else {}

    adapter = adapter_of(getattr(apply, "__self__", None))
    of_module = adapter.forward(apply.__self__) if adapter else None

    def forward(given: Any, x: Any, key: Any) -> Any:
        variables = {"params": given.params if takes_state else given, **rest}
        return of_module(variables, x, key) if of_module else apply(variables, x)

    return forward


ADAPTER = TrainState()
