"""`load`: what the user names on the command line becomes a `Problem`.

A target is code and runs as the user, like a test that pytest collects. This module imports no JAX by
itself, so that the command can set XLA's flags before.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gradscope.errors import GradscopeError
from gradscope.load.usercode.time_limit import time_limit
from gradscope.load.usercode.user_file import import_named, missing_file, run_file
from gradscope.records.options import LoadOptions

if TYPE_CHECKING:
    from gradscope.load.problem import Problem

_DEFINES_A_PROBLEM = re.compile(r"^(?:def (?:loss_fn|problem)\(|(?:loss_fn|problem) = )", re.MULTILINE)


def load(target: str, options: LoadOptions | None = None) -> Problem:
    """The problem that `target` names: `model.py`, `model.py:name`, or `package.module:name`.

    `name` is a loss function, a function that returns a Problem, or a Problem. The seed goes to `init(key)`
    and to the order of the rows of `data` and of data files. After the timeout the user's code is stopped.
    """
    options = options or LoadOptions()
    # JAX comes first: once the user's folder is searched, a file there could take its name.
    from gradscope.load.data.files.open_files import open_data
    from gradscope.load.definitions import problem_in
    from gradscope.load.meshes import placed, require_devices
    from gradscope.load.model.checkpoints.loading import with_checkpoint
    from gradscope.peers.joined import require_none_joined_elsewhere

    where, name = split_target(target)
    from gradscope.load.shapes import ShapesAlone, shapes_suffice

    require_devices(options)
    with time_limit(options.timeout, f"Loading {target}"), shapes_suffice(options.shapes):
        # Before the file runs: a name that is spelled wrong should not cost a minute.
        rows = open_data(options) if options.data else None
        problem = problem_in(_module(where), name, str(where), options, rows)
        require_none_joined_elsewhere()
        problem = problem.with_options(seed=options.seed, batch_size=options.batch_size)
        # Before its checkpoint is read: then each part of an array goes to its own device.
        problem = placed(problem, options.mesh) if options.mesh else problem
        problem = with_checkpoint(problem, options.params) if options.params else problem
        return problem.placed(ShapesAlone()) if options.shapes else problem


def split_target(target: str) -> tuple[Path | str, str | None]:
    """A path or the dotted name of a module, and the name after the colon."""
    if Path(target).exists() and target:
        return _python_file(Path(target)), None
    where, colon, name = target.rpartition(":")
    if not colon:
        where, name = target, ""
    if (colon and not name.isidentifier()) or not where:
        raise _not_a_target(target)
    if where.endswith(".py") or "/" in where or "\\" in where or Path(where).is_file():
        path = Path(where)
        if not path.exists():
            raise missing_file(path)
        return _python_file(path), name or None
    if not all(part.isidentifier() for part in where.split(".")):
        raise missing_file(Path(where)) if "." in where else _not_a_target(target)
    return where, name or None


def _module(where: Path | str) -> ModuleType:
    if isinstance(where, Path):
        return run_file(where)
    try:
        return import_named(where)
    except GradscopeError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing is None or not f"{where}.".startswith(f"{missing}."):
            raise
        raise GradscopeError(
            f"There is no module `{where}`.",
            why=f"`{missing}` is found neither below {Path.cwd()} nor among the installed packages.",
            fix=f"Check the name, or give a file: `{where.replace('.', '/')}.py`.",
            slug="no-such-file",
        ) from None


def _python_file(path: Path) -> Path:
    if path.is_dir():
        found = sorted(
            p for p in path.glob("*.py") if _DEFINES_A_PROBLEM.search(p.read_text(errors="replace"))
        )
        raise GradscopeError(
            f"{path} is a folder.",
            why="gradscope checks one file at a time.",
            fix="Choose one of the files shown." if found else "Give a Python file.",
            details="\n".join(f"  {p}" for p in found[:10]),
            slug="no-such-file",
        )
    if path.suffix == ".ipynb":
        raise GradscopeError(
            f"{path} is a notebook.",
            why="gradscope runs Python files.",
            fix=f"Convert it (`jupyter nbconvert --to script {path.name}`), or call `gradscope.check` in it.",
            slug="no-such-file",
        )
    return path


def _not_a_target(target: str) -> GradscopeError:
    return GradscopeError(
        f"`{target}` names no file and no module.",
        why="A target is `path/to/model.py`, `model.py:name` or `package.module:name`.",
        fix="Check its spelling.",
        slug="no-such-file",
    )
