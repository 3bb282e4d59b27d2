"""What repeats in a program, as every format for people calls it."""

from __future__ import annotations

import re

from gradscope.report.shared.glyphs import visible

_LINES = re.compile(r"(lines? [\d to]+ of )(.+)")


def block_name(block: str) -> str:
    """`Block.__call__`, line 11 of `loss_fn`, a part of the program: names of functions as code, so that no
    word of a sentence is taken for one."""
    if lines := _LINES.fullmatch(block):
        return f"{lines[1]}`{visible(lines[2])}`"
    return visible(block) if " " in block else f"`{visible(block)}`"
