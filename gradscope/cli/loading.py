"""The options that say how a TARGET is loaded: every command that loads one has all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope.cli import completion
from gradscope.cli.options import names_in
from gradscope.errors import GradscopeError
from gradscope.options import LoadOptions

LOADING = "What is loaded"

Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="Your file with loss_fn, params and batch in it: model.py, model.py:name or "
        "package.module:name. It is run, as Python runs it.",
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
    int,
    typer.Option(metavar="N", help="Seed of init(key) and of the key of loss_fn.", rich_help_panel=LOADING),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Give up on a file that takes longer to load.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]


def load_options(
    data: Data = None,
    x: Inputs = None,
    y: Targets = None,
    loss: Loss = None,
    params: Params = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    timeout: Timeout = None,
) -> LoadOptions:
    """What the options say, checked. For `groups.with_options`."""
    if timeout is not None and not 0 < timeout < float("inf"):
        raise GradscopeError(
            f'"--timeout {timeout}" is no time to wait.', fix="Give seconds above 0.", slug="bad-option"
        )
    if (x or y) and not data:
        raise GradscopeError(
            f'"--{"x" if x else "y"}" names part of a file, and there is no --data.',
            fix="Name the file: --data FILE.",
            slug="bad-option",
        )
    return LoadOptions(
        batch_size=batch_size,
        seed=seed,
        timeout=timeout,
        data=tuple(data or ()),
        x=names_in(x or ()),
        y=names_in(y or ()),
        loss=loss,
        params=params,
    )
