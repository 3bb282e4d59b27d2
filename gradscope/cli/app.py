"""The entry point: the commands, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from gradscope import __version__
from gradscope.cli import (
    check,
    compare_optimizers,
    diff,
    explain,
    failure,
    find_lr,
    init,
    report,
    rules,
    schema,
    screen,
    surroundings,
    verify,
)
from gradscope.errors import ExitCode, GradscopeError

EPILOG = (
    "Start with **gradscope check model.py**. Exit codes: 0 nothing found, 1 findings, "
    "2 the input could not be judged, 3 a bug of gradscope."
)

app = typer.Typer(
    name="gradscope",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check", epilog=check.EPILOG)(check.check)
app.command("compare-optimizers", epilog=compare_optimizers.EPILOG)(compare_optimizers.compare_optimizers)
app.command("find-lr", epilog=find_lr.EPILOG)(find_lr.find_lr)
app.command("verify", epilog=verify.EPILOG)(verify.verify)
app.command("init", epilog=init.EPILOG)(init.init)
app.command("report", epilog=report.EPILOG)(report.report)
app.command("diff", epilog=diff.EPILOG)(diff.diff)
app.command("rules")(rules.rules)
app.command("explain", epilog=explain.EPILOG)(explain.explain)
app.command("schema", epilog=schema.EPILOG)(schema.schema)


def _show_version(asked: bool) -> None:
    if asked:
        screen.emit(f"gradscope {__version__} (jax {_jax_version()}, Python {platform.python_version()})\n")
        raise typer.Exit


def _jax_version() -> str:
    """Read from its metadata: importing it would take seconds."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jax")
    except PackageNotFoundError:
        return "not installed"


@app.callback()
def _gradscope(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_show_version, is_eager=True, help="Show the versions and exit."
        ),
    ] = False,
) -> None:
    """Tell why a JAX network does not learn: at which layer, at which source line, and what to do."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command; never returns, and never lets a crash look like a finding.

    Without arguments they are those of the process, which is ours alone, and ends.
    """
    screen.open_what_is_closed()
    screen.show_what_cannot_be_encoded()
    with surroundings.threads_left_behind() if arguments is None else contextlib.nullcontext():
        _run(arguments)


def _run(arguments: Sequence[str] | None) -> NoReturn:
    try:
        app(args=arguments, prog_name="gradscope")
    except GradscopeError as error:
        sys.exit(failure.show_error(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        sys.exit(failure.show_bug(error))
    sys.exit(ExitCode.CLEAN)
