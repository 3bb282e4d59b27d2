"""What the terminal shows, as a picture: for a README, a slide or a ticket.

Rich draws it, with its window and its colours; the web font that its own template asks for is left out,
because a picture that loads something from elsewhere is not one.
"""

from __future__ import annotations

import html
import inspect
import io
import re
from dataclasses import replace
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gradscope.language import ENGLISH, spoken, translate
from gradscope.records import Suite
from gradscope.report.shared import units
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.glyphs import UNICODE
from gradscope.report.terminal.lines import STYLES
from gradscope.report.terminal.reporter import suite_lines

FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
WIDE_FONTS = "'Noto Sans Mono CJK JP', 'BIZ UDGothic', 'Osaka-Mono', 'MS Gothic'"
"""In which a Japanese character is as wide as two others."""


class SvgReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        lines = suite_lines(suite, replace(view, glyphs=UNICODE))
        console = Console(record=True, file=io.StringIO(), width=view.width, color_system="standard")
        for line in lines:
            console.print(_text(line), soft_wrap=True)
        out.write(_in_cells(console.export_svg(title=_title(suite), code_format=_template())))


REPORTER = SvgReporter()


def _text(line: Line) -> Text:
    """Built span by span: nothing of it is read as markup."""
    return Text.assemble(*((text, STYLES.get(style, "")) for text, style in line))


def _in_cells(picture: str) -> str:
    """Rich gives each piece of text its width in characters: those of a Chinese one are two."""

    def widened(found: re.Match[str]) -> str:
        text = html.unescape(found[3])
        return f'textLength="{float(found[1]) * cell_len(text) / len(text):g}"{found[2]}>{found[3]}</text>'

    return re.sub(r'textLength="([\d.]+)"([^>]*)>([^<]*[^\x00-\u2fff<][^<]*)</text>', widened, picture)


def _title(suite: Suite) -> str:
    if suite.alone:
        return UNICODE.text(f"gradscope: {suite.outcomes[0].target}")
    return f"gradscope: {translate(units.counted(len(suite.outcomes), 'target'))}"


def _template() -> str:
    usual: str = inspect.signature(Console.export_svg).parameters["code_format"].default
    without_fonts = re.sub(r"@font-face \{\{.*?\}\}", "", usual, flags=re.DOTALL)
    fonts = FONTS if spoken() == ENGLISH else FONTS.replace("monospace", f"{WIDE_FONTS}, monospace")
    return without_fonts.replace("Fira Code, monospace", fonts)
