"""The options that say how a TARGET is loaded: every command that loads one has all of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Annotated, Any

import typer

from gradscope import config
from gradscope.cli import completion
from gradscope.cli.options import names_in
from gradscope.errors import GradscopeError
from gradscope.records.options import LoadOptions

LOADING = "What is loaded"
Given = Mapping[str, config.Value]
"""Options by the keys of a configuration; those that were not given are left to it."""

TARGET_HELP = (
    "Your file with loss_fn, params and batch in it: model.py, model.py:name or package.module:name. "
    "It is run, as Python runs it."
)
Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help=TARGET_HELP, show_default=False, autocompletion=completion.python_file
    ),
]
AnyTargets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET",
        help=f"{TARGET_HELP} Without one: all that [tool.gradscope] configures.",
        show_default=False,
        autocompletion=completion.python_file,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Take batches from this file (.npz, .npy, .csv, .parquet, .safetensors) instead; repeat for "
        "several.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--x",
        metavar="NAME",
        help="Arrays or columns of the files that are the inputs, with commas.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--y",
        metavar="NAME",
        help="Those that are the targets; without --x, all others are the inputs.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]
Params = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Take the parameters from this checkpoint: safetensors, .npz, Orbax, Flax msgpack or Equinox.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Compare the model's outputs with the targets by this loss: cross-entropy, mse, or any of "
        "optax.losses.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Cut batches of N rows from data() or --data.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Seed of init(key) and of the key of loss_fn.",
        show_default="0",
        rich_help_panel=LOADING,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Give up on a target that takes longer.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]


def given_loading(
    data: Data = None,
    x: Inputs = None,
    y: Targets = None,
    loss: Loss = None,
    params: Params = None,
    batch_size: BatchSize = None,
    seed: Seed = None,
    timeout: Timeout = None,
) -> Given:
    """What is given, checked, by the keys of a configuration. For `groups.with_options`."""
    if timeout is not None and not 0 < timeout < float("inf"):
        raise GradscopeError(
            f'"--timeout {timeout}" is no time to wait.', fix="Give seconds above 0.", slug="bad-option"
        )
    options: dict[str, config.Value] = {
        "data": tuple(data or ()) or None,
        "x": names_in(x or ()) or None,
        "y": names_in(y or ()) or None,
        "loss": loss,
        "params": params,
        "batch-size": batch_size,
        "seed": seed,
        "timeout": timeout,
    }
    return {name: value for name, value in options.items() if value is not None}


@wraps(given_loading)
def load_options(**options: Any) -> LoadOptions:
    """The same for commands that read no configuration."""
    return config.loading(given_loading(**options))
