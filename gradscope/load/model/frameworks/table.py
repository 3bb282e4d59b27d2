"""The table of frameworks, and what the rest of loading asks of their adapters.

An adapter is imported only where its library already is: a file that uses none pays for none.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from gradscope.load.model.frameworks.base import (
    Adapter,
    Kinds,
    OpenedModel,
    OpeningContext,
    TakenApart,
    wrapped_functions,
)

ADAPTERS = {
    "flax.nnx": "flax_nnx",
    "equinox": "equinox",
    "flax.linen": "flax_linen",
    "haiku": "haiku",
    "keras": "keras",
    "jax": "train_state",
}
"""By library, the module of this folder that opens its models; the first to recognize an object opens it."""

EXTRAS = {"flax": "flax", "equinox": "equinox", "haiku": "haiku", "keras": "keras"}
"""Top-level module -> the extra of gradscope that installs it."""

_GRADIENT = ("Value and gradient of ", "Gradient of ")


def adapters() -> Iterator[Adapter]:
    for library, module in ADAPTERS.items():
        if library in sys.modules:
            found: Adapter = importlib.import_module(f"gradscope.load.model.frameworks.{module}").ADAPTER
            yield found


def adapter_of(value: Any) -> Adapter | None:
    """The adapter that opens `value`, or `None` where it is not a model object."""
    return next((adapter for adapter in adapters() if adapter.is_model(value)), None)


def opened(value: Any, context: OpeningContext) -> OpenedModel | None:
    adapter = adapter_of(value)
    return None if adapter is None else adapter.open(value, context)


def is_blueprint(value: Any) -> bool:
    adapter = adapter_of(value)
    return adapter is not None and adapter.is_blueprint(value)


def sees_calls(blueprint: Any) -> bool:
    adapter = adapter_of(blueprint)
    return adapter is not None and adapter.sees_calls and adapter.is_blueprint(blueprint)


@contextmanager
def watched(kinds: dict[tuple[str, ...], str]) -> Iterator[None]:
    """Adds the classes of the modules that a loss calls, unless those of its model are known.

    A path that several classes have is left out: the params of two networks in one dict.
    """
    found: dict[tuple[str, ...], set[str]] = {}
    with ExitStack() as stack:
        for adapter in adapters() if not kinds else ():
            stack.enter_context(adapter.watch(lambda path, name: found.setdefault(path, set()).add(name)))
        yield
    kinds.update({path: min(names) for path, names in found.items() if path and len(names) == 1})


def is_companion(value: Any) -> bool:
    return any(adapter.is_companion(value) for adapter in adapters())


def fresh(value: Any) -> Any:
    """The value that a loss gets for one of the file: a copy, where traces must not share it."""
    for adapter in adapters():
        if adapter.is_companion(value):
            return adapter.fresh(value)
    return value


def state_of(value: Any) -> Any:
    """What a run of the loss may have changed in an object of a framework; `None` for any other value."""
    return next((adapter.state_of(value) for adapter in adapters() if adapter.is_companion(value)), None)


def keep(value: Any, state: Any) -> None:
    """Put into an object what `state_of` gave of a copy of it."""
    if state is not None:
        next(adapter for adapter in adapters() if adapter.is_companion(value)).keep(value, state)


def taken_apart(value: Any) -> TakenApart | None:
    """An object of a framework that is no pytree, as arrays; `None` for any other value."""
    return next((a.taken_apart(value) for a in adapters() if a.is_companion(value)), None)


def loss_of(function: Any) -> Any:
    """The loss inside `value_and_grad(loss)`, of JAX or of a framework; any other function as it is.

    The wrappers of JAX have no type of their own: the first words of their docstring are what is public.
    """
    for each in wrapped_functions(function):
        if str(getattr(each, "__doc__", "")).startswith(_GRADIENT):
            function = getattr(each, "__wrapped__", function)
    for adapter in adapters():
        function = adapter.loss_of(function)
    return function


def transform_of(value: Any) -> Any:
    """The optax transform in a framework's own optimizer object, or `None`."""
    return transform_and_state(value)[0]


def transform_and_state(value: Any) -> tuple[Any, Any]:
    """The optax transform in a framework's own object and its state; `None` for what is not there."""
    for adapter in adapters():
        transform = adapter.transform_of(value)
        if transform is not None:
            return transform, adapter.optimizer_state(value)
    return None, None


def assignment_of(code: str, *holders: Any) -> str:
    """The line that gives a file the optimizer that `code` makes, in the form of the first of `holders` (its
    optimizer, its model) that has one."""
    for holder in holders:
        for adapter in adapters() if holder is not None else ():
            line = adapter.assignment(holder, code)
            if line is not None:
                return line
    return f"optimizer = {code}"


def framework_of(model: Any, kinds: Kinds) -> str:
    """The framework of a model object, or the one whose modules the loss calls itself; empty for neither."""
    adapter = adapter_of(model)
    if adapter is None and kinds:
        adapter = next((each for each in adapters() if each.sees_calls), None)
    return "" if adapter is None else adapter.title


def title_of_class(value: Any) -> str | None:
    """The framework whose model class `value` is, or `None`."""
    if not isinstance(value, type):
        return None
    return next((adapter.title for adapter in adapters() if adapter.is_class(value)), None)
