"""Names of layers in one line each, where folding would tear a picture apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradscope.report.terminal.lines import width_of

WORD = r"[^\W\d_]+"


def short_names(names: Sequence[str], width: int, ellipsis: str) -> list[str]:
    """Cut at their front, since the end tells most; where two would read alike their words are cut instead,
    so that the indices stay: `encoder.blocks[3].query` becomes `enc.blo[3].que`."""
    cut = [_tail(name, width, ellipsis) for name in names]
    if len(set(cut)) == len(set(names)):
        return cut
    return [_tail(_abridged(name, width), width, ellipsis) for name in names]


def _tail(name: str, width: int, ellipsis: str) -> str:
    if width_of(name) <= width:
        return name
    while name and width_of(ellipsis + name) > width:
        name = name[1:]
    return ellipsis + name


def _abridged(name: str, width: int) -> str:
    """Words of as many letters as fit, and of one at least."""
    short = name
    for letters in range(max(map(len, re.findall(WORD, name)), default=0), 0, -1):
        if width_of(short) <= width:
            break
        short = re.sub(rf"([^\W\d_]{{{letters}}}){WORD}", r"\1", name)
    return short
