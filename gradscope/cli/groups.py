"""Options that several commands share, as one parameter of each command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

Command = Callable[..., None]


def with_options(**builders: Callable[..., Any]) -> Callable[[Command], Command]:
    """A command with the parameters of `builders` in place of its own parameters of those names.

    Typer reads the signature: `@with_options(loading=load_options)` gives a command that lists
    `loading: LoadOptions` every option of `load_options`, and calls it with what that makes of them.
    To add an option to all commands, add a parameter to the builder.
    """

    def decorate(command: Command) -> Command:
        groups = {
            name: list(inspect.signature(build, eval_str=True).parameters.values())
            for name, build in builders.items()
        }
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            parameters += groups.get(parameter.name, [parameter])

        @wraps(command)
        def run(**given: Any) -> None:
            made = {
                name: builders[name](**{option.name: given.pop(option.name) for option in group})
                for name, group in groups.items()
            }
            command(**made, **given)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate
