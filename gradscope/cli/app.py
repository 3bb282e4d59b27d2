"""The entry point: the commands, and the one place that turns errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from gradscope import __version__
from gradscope.cli import languages, screen, surroundings
from gradscope.cli.commands import Commands
from gradscope.cli.help_pages import usage_error
from gradscope.cli.options import examples
from gradscope.errors import ExitCode, GradscopeError

EPILOG = examples("gradscope init", "gradscope check model.py", "gradscope explain vanishing-gradient")
EXIT_CODES = (
    "Exit codes: 0 success, 1 findings that --fail-on names, 2 the input could not be judged, 3 a bug in "
    "gradscope."
)

app = typer.Typer(
    name="gradscope",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog=f"{EPILOG}\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        import platform

        from gradscope.cli.doctor import installed

        versions = f"jax {installed('jax')}, Python {platform.python_version()}"
        screen.emit(f"gradscope {__version__} ({versions})\n")
        raise typer.Exit


@app.callback()
def _gradscope(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the versions and exit."),
    ] = False,
    lang: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Find out why a JAX network does not learn: at which layer, at which source line, and what to do."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command; never returns, and never lets a crash look like a finding.

    Without arguments they are those of the process, which is ours alone, and ends.
    """
    screen.open_what_is_closed()
    screen.show_what_cannot_be_encoded()
    if arguments is not None:
        _run(arguments)
    with surroundings.threads_left_behind(), surroundings.interruptions_kept():
        _run(arguments)


def _run(arguments: Sequence[str] | None) -> NoReturn:
    try:
        languages.choose(sys.argv[1:] if arguments is None else arguments)
        code = app(args=arguments, prog_name="gradscope", standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        from gradscope.cli import failure  # only here: what ends well is shown without it

        told = error if isinstance(error, GradscopeError) else usage_error(error)
        sys.exit(failure.show_bug(error) if told is None else failure.show_error(told))
    finally:
        languages.forget()
    sys.exit(code if isinstance(code, int) else ExitCode.CLEAN)
