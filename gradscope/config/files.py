"""Finds the configuration: the nearest file in this folder or above, or the one that is named."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from gradscope.config.places import displayed
from gradscope.config.tables import Config, config
from gradscope.errors import GradscopeError

OWN = "gradscope.toml"
SHARED = "pyproject.toml"
TABLE = "tool.gradscope"


def nearest(start: str) -> Config | None:
    """The configuration of the folder `start`, or of the nearest one above; they are not merged."""
    folder = os.path.abspath(start)
    while True:
        own, shared = os.path.join(folder, OWN), os.path.join(folder, SHARED)
        table = _shared_table(shared)
        if os.path.isfile(own):
            if table is not None:
                raise GradscopeError(
                    f"Both {displayed(own)} and [{TABLE}] in {displayed(shared)} configure gradscope.",
                    why="gradscope does not merge configurations.",
                    fix="Keep one of them, or choose one with `--config FILE`.",
                    slug="two-configurations",
                )
            return read(own)
        if table is not None:
            return read(shared)
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def read(path: str) -> Config:
    """The configuration of one file: the table of a `pyproject.toml`, the top level of any other."""
    data = _parsed(path)
    if os.path.basename(path) != SHARED:
        return config(path, data, "")
    table = _tool(data)
    if table is None:
        raise GradscopeError(
            f"{displayed(path)} has no table [{TABLE}].",
            fix=f"Add the table, or put its keys at the top level of a {OWN}.",
            slug="bad-configuration",
        )
    return config(path, table, TABLE)


def _shared_table(path: str) -> Any:
    """The table of a `pyproject.toml`, or `None`; a file without the word gradscope is not parsed."""
    if not os.path.isfile(path) or b"gradscope" not in _bytes(path):
        return None
    return _tool(_parsed(path))


def _tool(data: Mapping[str, Any]) -> Any:
    tool = data.get("tool")
    return tool.get("gradscope") if isinstance(tool, dict) else None


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise GradscopeError(
            f"{displayed(path)} cannot be read: {error.strerror}.",
            why="gradscope looks for its configuration there.",
            fix="Make the file readable, or choose another one with `--config FILE`.",
            slug="bad-configuration",
        ) from None


def _parsed(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_bytes(path).decode("utf-8"))
    except UnicodeDecodeError:
        raise _not_toml(displayed(path), "it is not encoded as UTF-8") from None
    except RecursionError:
        raise _not_toml(displayed(path), "it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        at = re.search(r"\(at line (\d+)", said)
        line = f":{at[1]}" if at else ""
        raise _not_toml(f"{displayed(path)}{line}", re.sub(r" \(at .*\)$", "", said)) from None


def _not_toml(where: str, reason: str) -> GradscopeError:
    return GradscopeError(
        f"{where} is not valid TOML: {reason[:1].lower()}{reason[1:]}.",
        fix="Correct the line shown." if ":" in where else "Write the file as UTF-8 encoded TOML.",
        slug="bad-configuration",
    )
