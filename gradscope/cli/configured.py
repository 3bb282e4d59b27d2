"""`--config`, `--jobs` and `--show-config`: what the configuration adds to a command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TextIO

import typer

from gradscope import config
from gradscope.cli.delivery import Delivery
from gradscope.cli.loading import Given
from gradscope.cli.options import check_format
from gradscope.config import TargetPlan
from gradscope.errors import GradscopeError
from gradscope.report import View

CONFIGURATION = "Configuration"

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Read the settings from this file.",
        show_default="nearest pyproject.toml or gradscope.toml",
        rich_help_panel=CONFIGURATION,
    ),
]
ShowConfig = Annotated[
    bool,
    typer.Option(
        "--show-config",
        help="Print the settings of each target and where each comes from; run nothing.",
        rich_help_panel=CONFIGURATION,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of targets to check at the same time.",
        show_default="half of the cores",
        rich_help_panel=CONFIGURATION,
    ),
]


@dataclass(frozen=True, slots=True)
class Configured:
    """Which configuration to read, and whether only to print it."""

    file: str | None = None
    jobs: int | None = None
    shown: bool = False

    def plan(self, given: Given, targets: Sequence[str]) -> TargetPlan:
        """The targets, or all configured ones, each with its settings merged."""
        found = config.nearest(os.getcwd()) if self.file is None else config.read(self.file)
        jobs: Given = {} if self.jobs is None else {"jobs": self.jobs}
        plan = config.plan(found, {**given, **jobs}, targets)
        if not (plan.targets or self.shown):
            raise _no_target(plan.file)
        if plan.modules_from is not None:
            search(plan.modules_from)
        return plan


def configured_options(
    config: ConfigFile = None, jobs: Jobs = None, show_config: ShowConfig = False
) -> Configured:
    """For `groups.with_options`."""
    return Configured(config, jobs, show_config)


def configured_file(config: ConfigFile = None) -> Configured:
    """The same for a command of one target."""
    return Configured(config)


def show(plan: TargetPlan, delivery: Delivery) -> None:
    """Print the settings, as `--show-config` asks."""
    check_format(delivery.format, ("terminal", "json"))
    text = config.as_json(plan) if delivery.format == "json" else config.as_text(plan)

    def write(page: TextIO, view: View) -> None:
        del view
        page.write(text)

    delivery.show(write)


def search(folder: str) -> None:
    """Find modules in a folder, here and in processes that this one starts."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = folder if not before else os.pathsep.join((folder, before))
    sys.path.insert(0, folder)


def _no_target(file: str | None) -> GradscopeError:
    looked = (
        "No pyproject.toml in this folder or above has [tool.gradscope], and there is no gradscope.toml."
        if file is None
        else f"{file} configures no targets."
    )
    return GradscopeError(
        "There is no target to check.",
        why=f"No TARGET was given. {looked}",
        fix='Name a file, `gradscope check model.py`, or write `targets = ["models/*.py"]` below '
        "[tool.gradscope] in pyproject.toml.",
        slug="no-target-given",
    )
