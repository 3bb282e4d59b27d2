"""The names of the rules and their pages, read from their files: a page and the TAB key import no rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_DECORATED = re.compile(r'^@rule\(\s*"([^"]+)"', re.MULTILINE)


@cache
def files() -> Mapping[str, Path]:
    """The file of each rule, in the order of `registry.all_rules`."""
    found = {
        (file.parent.name.replace("_", "-"), name): file
        for file in Path(__file__).parent.glob("*/*.py")
        for name in _DECORATED.findall(file.read_text(encoding="utf-8"))
    }
    return {name: found[family, name] for family, name in sorted(found)}


def page(name: str) -> str:
    """The page of a rule in `files`, as `Rule.page` has it."""
    tree = ast.parse(files()[name].read_text(encoding="utf-8"))
    return (ast.get_docstring(tree, clean=False) or "").strip()
