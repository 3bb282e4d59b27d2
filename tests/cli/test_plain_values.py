"""What is given as it is comes to the command as Typer would hand it on."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import pytest
import typer

from gradscope.cli.app import app
from gradscope.cli.commands import COMMANDS, loaded
from gradscope.cli.plain_values import processed

GIVEN = [None, "", "text", "3", "yes", (), ("text",), ["3", "x"], ("a", 1), True, False, 3, -1, 0.5]


def outcome(process: Callable[[], Any]) -> tuple[str, Any]:
    try:
        found = process()
    except Exception as error:
        return type(error).__name__, str(error)
    return type(found).__name__, found


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_a_value_is_what_typer_makes_of_it(name: str) -> None:
    command: Any = loaded(name) if name else typer.main.get_command(app)
    context: Any = typer.Context(command, info_name=name)
    for given in command.get_params(context):
        parameter = copy(given)
        parameter.callback = None
        del parameter.process_value
        for value in [*GIVEN, parameter.default]:
            typers = outcome(lambda p=parameter, v=value: p.process_value(context, v))
            ours = outcome(lambda p=parameter, v=value: processed(p, p.process_value, context, v))
            assert ours == typers, parameter.name


def test_a_callback_hears_of_it() -> None:
    command: Any = typer.main.get_command(app)
    version = next(each for each in command.get_params(typer.Context(command)) if each.name == "version")
    with pytest.raises(typer.Exit):
        version.process_value(None, True)
