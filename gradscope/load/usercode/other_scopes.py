"""Finds names that a file's namespace lacks: under the main guard, or inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def under_main_guard(names: Mapping[str, Any], wanted: Iterable[str]) -> str | None:
    """The first of `wanted` that is assigned only when the file is run as a script."""
    stored = {
        node.id
        for guard in _tree(names).body
        if isinstance(guard, ast.If) and "__main__" in ast.dump(guard.test)
        for node in ast.walk(guard)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return next((name for name in wanted if name in stored), None)


def inside_a_function(names: Mapping[str, Any], words: Iterable[str]) -> tuple[str, str, int] | None:
    """The first function that is defined in another one and whose name has one of `words` in it: its name,
    that of the outer function, and its line."""
    for outer in _tree(names).body:
        if isinstance(outer, ast.FunctionDef | ast.ClassDef):
            for inner in _functions(outer):
                if any(word in inner.name.lower() for word in words):
                    return inner.name, outer.name, inner.lineno
    return None


def _functions(outer: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(outer) if isinstance(node, ast.FunctionDef) and node is not outer)


def _tree(names: Mapping[str, Any]) -> ast.Module:
    file = names.get("__file__")
    if not isinstance(file, str) or not file.endswith(".py"):
        return ast.Module([], [])
    return ast.parse(Path(file).read_bytes())
