"""How help pages look, and what is said of a command or an option that there is not.

`--help` fits on one screen: what the command is for, its main options, three examples. `--help-all` has every
option, as Typer lays it out; a flag stands there without the type of its value, which is a truth value, and
so does an argument.
"""

from __future__ import annotations

import inspect
import io
import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gradscope.cli import screen, short_help
from gradscope.cli.plain_values import unconverted
from gradscope.errors import ExitCode, GradscopeError
from gradscope.language import ENGLISH, LANGUAGES, heading, spoken, translate
from gradscope.report.shared.base import Line
from gradscope.report.terminal.lines import print_lines

_POSSIBLE = re.compile(r" \(Possible options: (.*)\)\.?$")
_TARGET = re.compile(r"\.py$|\.py:|^[\w.]+:\w+$|[/\\]")
"""A file, or a name in a file or a module."""


def told(parameters: list[Any]) -> list[Any]:
    """With their help in the spoken language."""
    for parameter in parameters if spoken() != ENGLISH else ():
        parameter.help = translate(getattr(parameter, "help", None) or "")
        panel = getattr(parameter, "rich_help_panel", None)
        if panel:
            parameter.rich_help_panel = heading(panel)
    return parameters


def _show_all(ctx: typer.Context, value: bool) -> None:
    if not value:
        return
    if spoken() == ENGLISH:
        TyperCommand.format_help(ctx.command, ctx, ctx.make_formatter())  # type: ignore[arg-type]
    else:  # Typer's own words are English, and it cuts text that has no blanks
        _write(short_help.of_command(ctx.command, ctx, (), screen.view(sys.stdout)), sys.stdout)
    raise typer.Exit


HelpAll = Annotated[
    bool,
    typer.Option("--help-all", callback=_show_all, is_eager=True, help="Show every option and exit."),
]


Lang = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(LANGUAGES),
        help="Language for people; else that of the terminal.",
        show_default=False,
    ),
]
"""It was read before the command line is, since help and errors are in that language too."""


def with_common(function: Callable[..., None], help_all: bool) -> Callable[..., None]:
    """A command with the options that each has, of which it hears nothing: `--lang`, and `--help-all` where
    `--help` does not show all."""
    common = {"lang": (Lang, None)} | ({"help_all": (HelpAll, False)} if help_all else {})

    @wraps(function)
    def run(**given: Any) -> None:
        function(**{name: value for name, value in given.items() if name not in common})

    parameters = [
        *inspect.signature(function, eval_str=True).parameters.values(),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in common.items()
        ),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


class Command(TyperCommand):
    main_options: tuple[str, ...] = ()
    """The options that `--help` shows; none: all of them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(short_help.of_command(self, ctx, self.main_options, screen.view(sys.stdout)), formatter)

    def get_params(self, ctx: Any) -> list[Any]:
        return told(unconverted(_without_types(super().get_params(ctx))))


class Group(TyperGroup):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(short_help.of_group(self, ctx, screen.view(sys.stdout)), formatter)

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
        return told(unconverted(_without_types(super().get_params(ctx))))


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
        fix=f"`{command} {_whole(context)}` lists what it takes.",
        slug="bad-option",
    )


def _whole(context: Any) -> str:
    """The option that shows all there is."""
    return "--help-all" if getattr(getattr(context, "command", None), "main_options", ()) else "--help"


def _write(lines: list[Line], formatter: Any) -> None:
    out = io.StringIO()
    print_lines(lines, out, screen.colored(sys.stdout, screen.Color.AUTO))
    formatter.write(out.getvalue())


def _without_types(parameters: list[Any]) -> list[Any]:
    """Typer shows `<bool>` beside each flag, also beside `--help`, which it makes itself, and `<str>` beside
    each argument, whose help says what it is."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None
    return parameters
