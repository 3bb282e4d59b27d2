"""How help pages look, and what is said of a command or an option that there is not.

A flag stands without the type of its value, which is always a truth value, and so does an argument.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from gradscope.errors import ExitCode, GradscopeError

_POSSIBLE = re.compile(r" \(Possible options: (.*)\)\.?$")
_TARGET = re.compile(r"\.py$|\.py:|^[\w.]+:\w+$|[/\\]")
"""A file, or a name in a file or a module."""


class Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


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
        return _without_types(super().get_params(ctx))


def usage_error(error: Exception) -> GradscopeError | None:
    """What Typer says of a command line that it cannot read, as an error like all others; of anything else
    `None`. Without a command the help was asked for: it is shown, as the error."""
    say = getattr(error, "format_message", None)
    if say is None:
        return None
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        raise SystemExit(ExitCode.NOT_JUDGED)
    text = _POSSIBLE.sub(r". Did you mean \1?", say().replace("Value error, ", ""))
    command = "gradscope" if context is None else context.command_path
    return GradscopeError(
        text if text.endswith((".", "?")) else f"{text}.",
        fix=f"`{command} --help` lists what it takes.",
        slug="bad-option",
    )


def _without_types(parameters: list[Any]) -> list[Any]:
    """Typer shows `<bool>` beside each flag, also beside `--help`, which it makes itself, and `<str>` beside
    each argument, whose help says what it is."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None
    return parameters
