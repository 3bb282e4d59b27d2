"""`gradscope init`: a short problem file that runs, as a start for the user's own."""

from __future__ import annotations

import shlex
from enum import StrEnum
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from gradscope.cli import screen
from gradscope.cli.options import examples, one_of
from gradscope.errors import GradscopeError
from gradscope.language import translate

EPILOG = examples(
    "gradscope init",
    "gradscope init train.py --framework flax-nnx",
    "gradscope init train.py --framework equinox && gradscope check train.py",
)
DATA = """\
rows = np.random.default_rng(0)
x = rows.normal(size=(128, 8)).astype(np.float32)
batch = (x, x[:, :3].argmax(axis=1))
"""


class Framework(StrEnum):
    PLAIN = "plain"
    FLAX_NNX = "flax-nnx"
    FLAX_LINEN = "flax-linen"
    EQUINOX = "equinox"
    HAIKU = "haiku"
    KERAS = "keras"

    @property
    def library(self) -> str:
        """What the file imports, which is also the name of the extra that installs it."""
        return "jax" if self is Framework.PLAIN else self.value.partition("-")[0]


def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to write; it must not exist yet.")
    ] = Path("model.py"),
    framework: Annotated[
        str,
        typer.Option(
            "--framework",
            "-f",
            metavar="NAME",
            help=f"Framework that the model is written in: {', '.join(Framework)}.",
        ),
    ] = Framework.PLAIN.value,
) -> None:
    """Write a short problem file that runs, for the framework of your choice."""
    chosen = Framework(one_of("--framework", framework, tuple(Framework)))
    text = files("gradscope.templates").joinpath(f"{chosen.value}.py.txt").read_text(encoding="utf-8")
    write_new(file, text.format(file=file.name, data=DATA).rstrip("\n") + "\n")
    screen.emit(translate(f"Wrote {file}. Now run: gradscope check {shlex.quote(str(file))}") + "\n")
    if find_spec(chosen.library) is None:
        screen.tell(f"The file needs a library: pip install 'gradscope-jax[{chosen.library}]'")


def write_new(file: Path, text: str) -> None:
    """Never over a file that exists."""
    if file.suffix != ".py":
        raise GradscopeError(
            f'"{file}" is not the name of a Python file.',
            fix=f"Give a name such as {file.name}.py.",
            slug="unwritable-output",
        )
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise GradscopeError(
            f"The file {file} already exists.",
            why="`gradscope init` only writes new files.",
            fix="Give another name: `gradscope init NAME.py`, or move the file away.",
            slug="unwritable-output",
        ) from None
    except OSError as error:
        raise GradscopeError(
            f"{file} cannot be written: {error.strerror}.",
            why=f"Opening it failed with {type(error).__name__}.",
            fix="Give a path in a folder that exists and that you may write to.",
            slug="unwritable-output",
        ) from None
