"""Orbax checkpoints: a folder of one, of one step, or of a whole run, whose last step is taken."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data import npy
from gradscope.load.extras import required
from gradscope.load.message_text import listed

_ITEM = "_METADATA"
"""In each folder that holds a pytree."""
_PREFERRED = ("default", "params", "state", "model", "train_state")


def read_orbax(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The tree as nested dicts and lists of NumPy arrays, on whichever devices it was saved; and notes."""
    ocp = required("orbax.checkpoint", "checkpoints", f"read {path}")
    folder = _item_in(path)
    notes = () if folder == path else (f"{path} holds several checkpoints: {folder} is used.",)
    level = logging.getLogger("absl").level
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    try:
        # Its warnings are about sharding, which a copy in NumPy does not have.
        with warnings.catch_warnings(), ocp.PyTreeCheckpointer() as checkpointer:
            warnings.simplefilter("ignore")
            metadata = checkpointer.metadata(folder.absolute())
            tree = getattr(metadata, "item_metadata", metadata)
            tree = getattr(tree, "tree", tree)
            as_numpy = jax.tree_util.tree_map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            return checkpointer.restore(folder.absolute(), restore_args=as_numpy), notes
    except Exception as error:
        # Orbax and TensorStore raise whatever failed inside them.
        raise npy.corrupt(str(folder), f"Orbax reports: {(str(error).splitlines() or [''])[0]}") from None
    finally:
        logging.getLogger("absl").setLevel(level)


def _item_in(path: Path) -> Path:
    """The folder of a pytree: this one, an item of a step, or an item of the last step of a run."""
    if (path / _ITEM).is_file():
        return path
    steps = sorted((p for p in path.iterdir() if _step_of(p) is not None), key=lambda p: _step_of(p) or 0)
    if steps:
        return _item_in(steps[-1])
    items = sorted(p for p in path.iterdir() if (p / _ITEM).is_file())
    for name in _PREFERRED:
        if path / name in items:
            return path / name
    if len(items) == 1:
        return items[0]
    inside = sorted(p.name for p in path.iterdir())
    raise GradscopeError(
        f"{path} is not an Orbax checkpoint.",
        why=f"No `{_ITEM}` is in it; it holds {listed(inside) or 'nothing'}.",
        fix=f"Give one of {listed([str(p) for p in items])}." if items else "Give the folder that was saved.",
        slug="unknown-file-format",
    )


def _step_of(path: Path) -> int | None:
    """1000 for `1000`, `step_1000` and `checkpoint_1000`."""
    number = path.name.rpartition("_")[2]
    return int(number) if path.is_dir() and number.isdecimal() else None
