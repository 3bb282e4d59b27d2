"""Help on one screen: what a command is for, its main options, and three examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any

from gradscope.language import heading, translate
from gradscope.report.shared.base import Line, View
from gradscope.report.terminal.lines import pad, paragraph, width_of, wrap

WIDEST = 100
NAMES = 26
"""Columns for the names of options; a longer one has a line of its own."""
EXAMPLES = 3


def of_command(command: Any, context: Any, main: Sequence[str], view: View) -> list[Line]:
    view = view.at_most(WIDEST)
    parameters = command.get_params(context)
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [each for each in parameters if each.param_type_name == "option" and not each.hidden]
    shown = [each for each in options if not main or _place(each, main) >= 0]
    shown.sort(key=lambda each: _place(each, main))
    lines = _top(command, context, view)
    if arguments:
        named = ((each.metavar or each.name, each.help or "") for each in arguments)
        lines += _table("Arguments", named, view)
    lines += _table("Options", ((_names(each), _meaning(each)) for each in shown), view)
    if len(shown) < len(options):
        left = len(options) - len(shown)
        lines += paragraph(f"{left} more options: {context.command_path} --help-all", view, 2, "quiet")
    return [*lines, *_examples(command, view)]


def of_group(group: Any, context: Any, view: View) -> list[Line]:
    view = view.at_most(WIDEST)
    commands = ((name, _brief(translate(each.short_help or ""))) for name, each in group.commands.items())
    options = [each for each in group.get_params(context) if not each.hidden]
    return [
        *_top(group, context, view),
        *_table("Commands", commands, view),
        *_table("Options", ((_names(each), _meaning(each)) for each in options), view),
        *_examples(group, view),
    ]


def _top(command: Any, context: Any, view: View) -> list[Line]:
    usage = " ".join([heading("Usage:"), context.command_path, *command.collect_usage_pieces(context)])
    lines = [*paragraph(usage, view, 0, "strong"), []]
    summary = " ".join((command.help or "").partition("\n\n")[0].split())
    return [*lines, *paragraph(summary, view)]


def _table(title: str, rows: Iterable[tuple[str, str]], view: View) -> list[Line]:
    found = list(rows)
    fitting = [width_of(name) for name, _ in found if width_of(name) <= NAMES]
    left = max(fitting, default=0)
    lines: list[Line] = [[], [(heading(title), "strong")]]
    for name, meaning in found:
        pieces = wrap(view.glyphs.text(translate(meaning)), max(20, view.width - left - 4))
        if width_of(name) > left:
            lines.append([(f"  {name}", "")])
        else:
            lines.append([(f"  {pad(name, left)}  {pieces.pop(0)}", "")])
        lines += [[(f"{' ' * (left + 4)}{piece}", "")] for piece in pieces]
    return lines


def _place(option: Any, main: Sequence[str]) -> int:
    """Among the main options; -1 for another."""
    return next((main.index(name) for name in option.opts if name in main), -1)


def _names(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    values = option.metavar
    if isinstance(option.default, Enum):
        values = "|".join(str(each.value) for each in type(option.default))
    return f"{names} {values}" if values else names


def _meaning(option: Any) -> str:
    default = option.show_default if isinstance(option.show_default, str) else option.default
    told = default not in (None, False, True, [], ()) and option.show_default and not option.is_flag
    return f"{translate(option.help)} [{translate(str(default))}]" if told else option.help or ""


def _brief(summary: str) -> str:
    """Its first clause."""
    return re.split(r"[:;.。]", re.sub(r" \([^)]*\)", "", summary))[0]


def _examples(command: Any, view: View) -> Iterator[Line]:
    yield []
    yield [(heading("Examples"), "strong")]
    for example in re.findall(r"\*\*(.+?)\*\*", command.epilog or "")[:EXAMPLES]:
        yield from paragraph(example, view, 2)
