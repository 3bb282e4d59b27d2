"""How a report shows itself where it is printed or stands last in a cell; how it is drawn and written.

Records know nothing of `report/` and `serialization/`: `gradscope/__init__.py` names here the functions that
render and write them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_hooks: dict[str, Callable[..., Any]] = {}


def set_display(**functions: Callable[..., Any]) -> None:
    """Called once, when `gradscope` is imported; the functions import what they need when they are called."""
    _hooks.update(functions)


def text_of(report: Any) -> str:
    return str(_hooks["text"](report))


def html_of(report: Any) -> str:
    return str(_hooks["html"](report))


def page_of(report: Any) -> str:
    return str(_hooks["page"](report))


def json_of(report: Any) -> str:
    return str(_hooks["json"](report))


def frame_of(report: Any, what: str, library: str | None) -> Any:
    return _hooks["frame"](report, what, library)


def figure_of(report: Any, finding: Any) -> Any:
    return _hooks["figure"](report, finding)


def changes_of(changes: Any) -> str:
    return str(_hooks["changes"](changes))


def save(report: Any, path: str) -> None:
    _hooks["save"](report, path)
