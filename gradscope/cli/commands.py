"""The commands: a line for each is at hand, and its file is imported when it is called or asked for its help.

The file `cli/<name>.py` has the command in a function of that name, its examples in `EPILOG`, and in `MAIN`
the options that `--help` shows where not all of them fit on a screen.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer

from gradscope.cli.help_pages import Command, Group, with_common

COMMANDS = {
    "check": "Find out why a network does not learn: at which layer, at which source line, and what to do.",
    "fix": "Try remedies in memory: what each brings in a short training, and the best one as an edit.",
    "compare-optimizers": (
        "Compare optimizers on your model: loss, time, memory, sensitivity to the learning rate."
    ),
    "monitor": (
        "Train and watch every layer: gradients, updates and losses step by step, and what goes wrong when."
    ),
    "find-lr": (
        "Suggest a learning rate by a range test: it rises exponentially until the loss does, for each seed."
    ),
    "verify": (
        "Verify gradients: each parameter against finite differences, each custom derivative rule by itself."
    ),
    "memory": (
        "Show what the backward pass keeps, by layer and line; what checkpointing saves; which batch fits."
    ),
    "cost": ("Show what a training step computes, layer by layer: operations, time, and how they grow."),
    "curvature": (
        "Show how the loss bends: the largest stable learning rate, sharpness by layer, minimum or saddle."
    ),
    "init": "Write a short problem file that runs, for the framework of your choice.",
    "report": "Show a saved run or a recording in any format, and exit with its code; no model is run.",
    "diff": "Show what changed between two saved runs. `--fail-on` considers new findings only.",
    "rules": "List the rules that `check` and `verify` apply.",
    "explain": (
        "Explain a rule (what it measures, what it means, what to do), an error message, or the table."
    ),
    "doctor": (
        "Show what is installed: JAX, devices, frameworks, the compilation cache. For a report of a bug."
    ),
    "skill": (
        "Print how a coding agent uses gradscope: the file it needs, the loop, the commands by symptom."
    ),
    "mcp": "Serve check, fix, verify, memory, explain and diff as tools to a coding agent, over stdio (MCP).",
    "schema": "Print the JSON Schema of `--format json`.",
}
"""Each with the first paragraph of its function's docstring."""


class Commands(Group):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: Command(name, short_help=summary) for name, summary in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and loaded(name), rest


def loaded(name: str) -> Any:
    """The command itself, with its options."""
    module = import_module(f"gradscope.cli.{name.replace('-', '_')}")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    function, main = getattr(module, name.replace("-", "_")), getattr(module, "MAIN", ())
    app.command(name, cls=Command, epilog=module.EPILOG)(with_common(function, bool(main)))
    command = typer.main.get_command(app)
    command.main_options = main  # type: ignore[attr-defined]
    return command
