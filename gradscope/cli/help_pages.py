"""How help pages look, and what is said of a command that there is not.

A flag stands without the type of its value, which is always a truth value.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from gradscope.errors import GradscopeError

_TARGET = re.compile(r"\.py$|\.py:|^[\w.]+:\w+$|[/\\]")
"""A file, or a name in a file or a module."""


class Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


class Group(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A target in the place of a command gets the command that most want."""
        if args and args[0] not in self.commands and _TARGET.search(args[0]):
            raise GradscopeError(
                f"There is no command `{args[0]}`.",
                why="The first argument is a command, and a target follows it.",
                fix=f"Did you mean `gradscope check {' '.join(args)}`?",
            )
        return super().resolve_command(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """Typer shows `<bool>` beside each flag, also beside `--help`, which it makes itself."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters
