"""Values of a command line that need no conversion do not ask for one.

Typer validates each parameter with Pydantic, also those that were not given. To import it takes 50 ms, a
third of `gradscope explain`, and what almost every command line holds is text, flags and defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any


def unconverted(parameters: list[Any]) -> list[Any]:
    """The same parameters of a command, which leave to Typer what is to become something else, or may be out
    of its range."""
    for parameter in parameters:
        if hasattr(parameter, "type_descriptor") and "process_value" not in vars(parameter):
            parameter.process_value = partial(processed, parameter, parameter.process_value)
    return parameters


def processed(parameter: Any, by_typer: Callable[..., Any], ctx: Any, value: Any) -> Any:
    """What the command gets for a value of the command line or a default, after the parameter's callback."""
    several, annotation = parameter.multiple or parameter.nargs == -1, parameter.type_descriptor.annotation
    if value is None and not parameter.required:
        value = () if several else None
    elif annotation == list[str] and isinstance(value, list | tuple) and {*map(type, value)} == {str}:
        value = list(value)
    elif several or type(value) is not annotation or not issubclass(annotation, str | bool | Enum):
        return by_typer(ctx, value)
    return value if parameter.callback is None else parameter.callback(ctx, parameter, value)
