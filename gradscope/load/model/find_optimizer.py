"""Finds the optimizer of a user's file, and optimizers of the user's own to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradscope.load.message_text import listed, type_name
from gradscope.load.model.find_params import is_function
from gradscope.load.model.frameworks.table import transform_and_state, transform_of
from gradscope.load.model.optimizer_state import resumed, state_note
from gradscope.load.model.optimizers import is_optimizer
from gradscope.load.signature.keys import call_with_key, takes_nothing_or_a_key

_OTHER_NAMES = ("opt", "optim", "tx")
"""An object that holds a transform comes before the transform by itself."""


def optimizer_in(names: Mapping[str, Any], seed: int, notes: list[str]) -> Any:
    """The value called `optimizer`, or the only optimizer of another usual name; else `None`.

    It goes on from the state that the file gives: that of an object which holds it, or `opt_state`.
    """
    found = _named(names, seed, notes)
    transform, state = transform_and_state(found)
    if transform is not None:
        notes += state_note(state)
        return found
    if found is not None and (state := _state_of(found, names)) is not None:
        notes += state_note(state)
        return resumed(found, state)
    return found


def _state_of(transform: Any, names: Mapping[str, Any]) -> Any:
    for value in names.values():
        held, state = transform_and_state(value)
        if held is transform:
            return state
    return names.get("opt_state")


def _named(names: Mapping[str, Any], seed: int, notes: list[str]) -> Any:
    value = names.get("optimizer")
    if value is None:
        return _of_another_name(names, notes)
    if is_optimizer(value) or transform_of(value) is not None:
        return value
    if is_function(value) and takes_nothing_or_a_key(value):
        return call_with_key(value, "optimizer", seed)
    notes.append(f"optimizer is of type {type_name(value)}, not an optax.GradientTransformation: not used.")
    return None


def _of_another_name(names: Mapping[str, Any], notes: list[str]) -> Any:
    found: dict[int, str] = {}
    for name in _OTHER_NAMES:
        value = names.get(name)
        held = None if value is None else transform_of(value)
        if held is not None or is_optimizer(value):
            found.setdefault(id(value if held is None else held), name)
    chosen = list(found.values())
    if len(chosen) > 1:
        several = listed([f"`{name}`" for name in chosen])
        notes.append(f"The file gives {several}: call the one to use `optimizer`.")
    elif chosen:
        notes.append(f"`{chosen[0]}` is used as `optimizer`.")
        return names[chosen[0]]
    return None


def candidates_in(names: Mapping[str, Any], notes: list[str]) -> Any:
    """A script may call anything `candidates`; only names with functions are optimizers of its own."""
    value = names.get("candidates")
    if isinstance(value, Mapping) and value and all(callable(made) for made in value.values()):
        return value
    if isinstance(value, Mapping):
        items = [*value.values()]
    else:
        items = [*value] if isinstance(value, list | tuple | set) else []
    if any(callable(item) or is_optimizer(item) for item in items):
        notes.append(
            "candidates is not used: it maps names to functions of the learning rate, "
            'as in `candidates = {"mine": lambda lr: optax.adam(lr)}`.'
        )
    return None
