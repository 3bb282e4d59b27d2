"""Haiku: a transformed function holds no arrays; its parameters are made here by its own `init`.

Params keep the shape that Haiku gives them, `{"mlp/~/linear_0": {"w": ...}}`: these names users know.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

import haiku as hk
import jax

from gradscope.errors import GradscopeError
from gradscope.load.model.frameworks.base import Adapter, OpenedModel, OpeningContext, plain_call
from gradscope.load.model.frameworks.inputs import parts_of
from gradscope.load.model.frameworks.stand_in import compiled, concrete, training_flags
from gradscope.load.signature.keys import prng_key
from gradscope.load.usercode.user_code import as_gradscope_error

STATE_NAMES = ("state", "model_state", "net_state", "bn_state", "hk_state")
_TRANSFORMED = (hk.Transformed, hk.TransformedWithState)
_TRANSFORM_MODULE = hk.transform.__module__

Inputs = tuple[tuple[Any, ...], Mapping[str, Any]]


class Haiku(Adapter):
    title = "Haiku"

    def is_model(self, value: Any) -> bool:
        return isinstance(value, _TRANSFORMED)

    def is_class(self, value: type) -> bool:
        return issubclass(value, hk.Module)

    def is_blueprint(self, value: Any) -> bool:
        return True

    def open(self, value: Any, context: OpeningContext) -> OpenedModel:
        kinds: dict[tuple[str, ...], str] = {}
        inputs = _inputs(value, context)
        with self.watch(lambda path, name: kinds.setdefault(path, name)):
            made = compiled(
                lambda key, given: value.init(key, *given[0], **given[1]), prng_key(context.seed), inputs
            )
        params, state = made if isinstance(value, hk.TransformedWithState) else (made, None)
        states = {} if state is None else dict.fromkeys(STATE_NAMES, state)
        return OpenedModel(
            params=params,
            call=plain_call(lambda params: params),
            kinds=kinds,
            given={name: each for name, each in states.items() if name not in context.names},
            forward=_forward(value, state),
        )

    def forward(self, blueprint: Any) -> Any:
        return _forward(blueprint, {})

    def loss_of(self, function: Any) -> Any:
        return _loss(function) if isinstance(function, _TRANSFORMED) else function

    @contextmanager
    def watch(self, seen: Callable[[tuple[str, ...], str], object]) -> Iterator[None]:
        found: dict[str, str] = {}

        def note(run: Any, args: Any, kwargs: Any, about: Any) -> Any:
            if about.method_name != "__init__":
                found[about.module.module_name] = type(about.module).__name__
            return run(*args, **kwargs)

        with hk.intercept_methods(note):
            yield
        for name, kind in found.items():
            seen((name,), kind)
            # Modules inside a lift (`layer_stack`, `hk.lift`) do not know the prefix of their params.
            for prefix in (lift for lift, of in found.items() if of == "LiftingModule" and lift != name):
                seen((f"{prefix}/{name}",), kind)


def _inputs(model: Any, context: OpeningContext) -> Inputs:
    """What the loss calls the model with, or the inputs of the batch where the loss cannot be run so far."""
    stand_ins: dict[str, Any] = {name: {} for name in STATE_NAMES if name not in context.names}
    found, failure = None, None
    if context.run is not None:
        run = context.run
        try:
            jax.eval_shape(lambda: run({}, stand_ins))
        except Exception as error:
            found, failure = _called_with(error), error
    if found is not None:
        return found
    x = parts_of(context.batch)[0]
    usual: Inputs = (() if x is None else (x,), training_flags(model.init))
    try:
        jax.eval_shape(lambda: model.init(prng_key(0), *usual[0], **usual[1]))
    except Exception as error:
        seen = as_gradscope_error(failure or error, "making the parameters of the Haiku model")
        why = seen.why or "The file gives no `params`, so they are made from the first batch."
        fix = seen.fix or "Give them: `params = model.init(key, x)`."
        raise GradscopeError(
            seen.what, why=why, fix=fix, details=seen.details, slug="error-in-your-code"
        ) from None
    return usual


def _called_with(error: Exception) -> Inputs | None:
    """The arguments of the `apply` in which Haiku missed a parameter.

    Haiku tells of them nowhere; they stand in the frame of `apply`, which the traceback holds.
    """
    for frame, _ in walk_tb(error.__traceback__):
        found = frame.f_locals
        if frame.f_globals.get("__name__") == _TRANSFORM_MODULE and {"rng", "args", "kwargs"} <= set(found):
            inputs: Inputs = concrete((found["args"], found["kwargs"]))
            return inputs
    return None


def _loss(transformed: Any) -> Callable[..., Any]:
    """A loss that is itself transformed, as a function of `(params, [state], key, *its own arguments)`."""
    with_state = isinstance(transformed, hk.TransformedWithState)

    def loss_fn(params: Any, *rest: Any, **named: Any) -> Any:
        return transformed.apply(params, *rest, **named)

    parameters = list(inspect.signature(transformed.apply).parameters.values())
    leading = ["params", "state"] if with_state else ["params"]
    if len(parameters) > len(leading) and parameters[len(leading)].name == "rng":
        leading.append("rng")
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = parameters[len(leading) :]
    loss_fn.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*(inspect.Parameter(name, kind) for name in leading), *own]
    )
    return loss_fn


def _forward(model: Any, state: Any) -> Any:
    """As in training; without a key where the model was made by `without_apply_rng`."""
    names = inspect.signature(model.apply).parameters

    def forward(params: Any, x: Any, key: Any) -> Any:
        before = (state,) if isinstance(model, hk.TransformedWithState) else ()
        keys = (key,) if "rng" in names else ()
        result = model.apply(params, *before, *keys, x, **training_flags(model.apply))
        return result[0] if before else result

    return forward


ADAPTER = Haiku()
