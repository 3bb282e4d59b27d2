"""The options that control how a TARGET is loaded: every command that loads one has all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from gradscope import config
from gradscope.cli import completion
from gradscope.cli.options import names_in
from gradscope.errors import GradscopeError
from gradscope.records.options import LoadOptions

LOADING = "Model and data"
Given = Mapping[str, config.Value]
"""Options by the keys of a configuration; those that were not given are absent."""

TARGET_HELP = (
    "A Python file that defines loss_fn, params and batch: model.py, model.py:name or package.module:name. "
    "gradscope executes the file."
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
        help=f"{TARGET_HELP} Without a TARGET, all targets in [tool.gradscope] are checked.",
        show_default=False,
        autocompletion=completion.python_file,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Read the batches from this file (.npz, .npy, .csv, .parquet or .safetensors); repeat for "
        "several files.",
        show_default="the batches of TARGET",
        rich_help_panel=LOADING,
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--x",
        metavar="NAME",
        help="Arrays or columns in the data files that are the inputs, separated by commas; without --x, all "
        "that --y does not name.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--y",
        metavar="NAME",
        help="Arrays or columns in the data files that are the labels, separated by commas.",
        show_default=False,
        rich_help_panel=LOADING,
    ),
]
Params = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Load the parameters from this checkpoint (safetensors, .npz, Orbax, Flax msgpack or Equinox).",
        show_default="the parameters of TARGET",
        rich_help_panel=LOADING,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Loss between the model's outputs and the labels: cross-entropy, mse, or a function of "
        "optax.losses.",
        show_default="loss_fn of TARGET",
        rich_help_panel=LOADING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of rows in each batch that is taken from data() or --data.",
        show_default="128",
        rich_help_panel=LOADING,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Seed for init(key), for the key of loss_fn and for the order of the rows of data() and --data.",
        show_default="0",
        rich_help_panel=LOADING,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Stop a target that takes longer than this many seconds.",
        show_default="no limit",
        rich_help_panel=LOADING,
    ),
]
Mesh = Annotated[
    list[str] | None,
    typer.Option(
        "--mesh",
        metavar="AXES",
        help="Lay the arrays of TARGET out over devices, for instance data=4,model=2: rows of the batch are "
        "split over data, parameters over model, each along its largest axis that fits, and both over fsdp. "
        "cost takes several, and compares what devices send each other.",
        show_default="where TARGET puts them",
        rich_help_panel=LOADING,
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Let JAX have N CPU devices, for a TARGET that makes a mesh itself.",
        show_default="as many as --mesh needs",
        rich_help_panel=LOADING,
    ),
]

Shapes = Annotated[
    bool,
    typer.Option(
        "--shapes",
        help="Trace init(key) for the shapes of the parameters and make none of them: for models that do not "
        "fit on this machine. Nothing is run.",
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
    mesh: Mesh = None,
    devices: Devices = None,
) -> Given:
    """The options that were given, checked, by the keys of a configuration. For `groups.with_options`."""
    if timeout is not None and not 0 < timeout < float("inf"):
        raise GradscopeError(
            f'"--timeout {timeout}" is not a time.',
            fix="Give a number of seconds above 0.",
            slug="bad-option",
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
        "mesh": _mesh(mesh or ()),
        "devices": devices,
    }
    return {name: value for name, value in options.items() if value is not None}


def _mesh(given: Sequence[str]) -> str | None:
    if len(given) > 1:
        raise GradscopeError(
            f'"--mesh" is given {len(given)} times: {", ".join(given)}.',
            fix="Give one mesh. `gradscope cost` compares several.",
            slug="bad-option",
        )
    return config.mesh(given[0]) if given else None


_OTHERS = "other-meshes"
"""Beside the keys of a configuration: the meshes behind the first one."""


@wraps(given_loading)
def given_layouts(mesh: Mesh = None, **options: Any) -> Given:
    """The same for a command that compares meshes. For `groups.with_options`."""
    meshes = mesh or []
    given = given_loading(mesh=meshes[:1], **options)
    return {**given, _OTHERS: tuple(map(config.mesh, meshes[1:]))}


def other_meshes(given: Given) -> tuple[Mapping[str, int], ...]:
    """Those that the first one is to be compared with."""
    others = given.get(_OTHERS)
    return tuple(config.axes_of(str(each)) for each in others) if isinstance(others, tuple) else ()


@wraps(given_loading)
def load_options(**options: Any) -> LoadOptions:
    """The same for commands that read no configuration."""
    return config.loading(given_loading(**options))
