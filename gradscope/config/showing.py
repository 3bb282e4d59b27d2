"""The output of `--show-config`: each setting with its value and its origin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gradscope.config.keys import Value
from gradscope.config.planning import Planned, Setting, TargetPlan

FORMAT = 1
COMMENT_AT = 36
"""The column in which the origins begin."""


def as_text(plan: TargetPlan) -> str:
    """TOML, with the origins as comments; a setting without a value or a default is commented out."""
    lines = [
        f"# {_one_line(plan.file)}" if plan.file else "# no configuration file",
        *_settings(plan.settings),
    ]
    if not plan.targets:
        lines += ["", "# no targets are configured; the settings of any target:", *_settings(plan.common)]
    for planned in plan.targets:
        lines += ["", "[[target]]", f"path = {_toml(planned.task.target)}", *_settings(planned.settings)]
    return "\n".join(lines) + "\n"


def as_json(plan: TargetPlan) -> str:
    """The same as JSON; a setting without a value or a default is null."""
    data = {
        "format": FORMAT,
        "configuration": plan.file,
        "settings": _json_of(plan.settings),
        "targets": [_target(planned) for planned in plan.targets],
        "any_other_target": _json_of(plan.common),
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _target(planned: Planned) -> dict[str, Any]:
    task = planned.task
    return {"target": task.target, "path": task.path, "settings": _json_of(planned.settings)}


def _json_of(settings: Sequence[Setting]) -> dict[str, Any]:
    return {setting.name: {"value": _plain(setting), "from": setting.origin} for setting in settings}


def _settings(settings: Sequence[Setting]) -> list[str]:
    given = [setting for setting in settings if setting.value is not None]
    lines = [
        f"{f'{setting.name} = {_toml(_plain(setting))}':{COMMENT_AT}}  # {setting.origin}"
        for setting in given
    ]
    unset = [setting.name for setting in settings if setting.value is None]
    return [*lines, f"# not set: {', '.join(unset)}"] if unset else lines


def _plain(setting: Setting) -> Value:
    """The value as a file would have it: an empty policy is `never`."""
    return "never" if setting.name == "fail-on" and not setting.value else setting.value


def _toml(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    # TOML reads the escapes of JSON; numbers are written the same.
    return _one_line(json.dumps(value, ensure_ascii=False)) if isinstance(value, str) else f"{value!r}"


def _one_line(text: str | None) -> str:
    return "".join(
        c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
        for c in text or ""
    )
