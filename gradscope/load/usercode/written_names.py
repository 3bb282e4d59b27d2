"""What the author of a loss calls things: the parts of a batch that is unpacked, the factors of a product."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gradscope.load.model.frameworks.base import code_of
from gradscope.load.usercode.discarded import Text
from gradscope.records import Source

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def unpacked(function: Any, count: int) -> tuple[str, ...]:
    """The names that a function gives to the `count` parts of one of its arguments, where it unpacks it into
    so many; else empty."""
    code = code_of(function)
    if code is None or not Path(code.co_filename).is_file():
        return ()
    for node in ast.walk(Text(code.co_filename).tree):
        if isinstance(node, _FUNCTIONS) and node.name == code.co_name and _is_at(node, code.co_firstlineno):
            arguments = {each.arg for each in (*node.args.posonlyargs, *node.args.args)}
            return next(_unpackings(node, arguments, count), ())
    return ()


def _is_at(node: ast.FunctionDef | ast.AsyncFunctionDef, line: int) -> bool:
    return line in (node.lineno, *(each.lineno for each in node.decorator_list))


def _unpackings(node: ast.AST, arguments: set[str], count: int) -> Iterator[tuple[str, ...]]:
    for each in ast.walk(node):
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Name) and each.value.id in arguments:
            for target in each.targets:
                parts = target.elts if isinstance(target, ast.Tuple | ast.List) else []
                named = [part.id for part in parts if isinstance(part, ast.Name)]
                if len(named) == len(parts) == count:
                    yield tuple(named)


def signed_factor(source: Source, wanted: re.Pattern[str], others: re.Pattern[str]) -> tuple[str, int] | None:
    """Of the one product at a line whose one factor has a name that is `wanted`, and the other one of
    `others`: that name, and whether it counts there as it is (1) or as its negative (-1)."""
    products = [
        each
        for each in ast.walk(Text(source.file).tree)
        if isinstance(each, ast.BinOp)
        and isinstance(each.op, ast.Mult)
        and each.lineno <= source.line <= (each.end_lineno or each.lineno)
    ]
    found = [
        signed
        for each in products
        for one, other in ((each.left, each.right), (each.right, each.left))
        if (signed := _signed(one, wanted)) is not None and any(map(others.search, _names(other)))
    ]
    return found[0] if len(set(found)) == 1 else None


def _signed(node: ast.expr, wanted: re.Pattern[str]) -> tuple[str, int] | None:
    """Of a name in a sum or a difference; `None` where it is anything more."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _signed(node.operand, wanted)
        return None if inner is None else (inner[0], -inner[1])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Add):
        left = _signed(node.left, wanted)
        if left is not None or not isinstance(node.op, ast.Add):
            return left
        return _signed(node.right, wanted)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _signed(node.left, wanted)
    if isinstance(node, ast.Subscript):
        text = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(text, str) and wanted.fullmatch(text):
            return text, 1
        return _signed(node.value, wanted)
    if isinstance(node, ast.Call) and len(node.args) == 1 and _names(node.func)[-1:] == ["stop_gradient"]:
        return _signed(node.args[0], wanted)
    name = _names(node)[-1:] if isinstance(node, ast.Name | ast.Attribute) else []
    return (name[0], 1) if name and wanted.fullmatch(name[0]) else None


def _names(node: ast.expr) -> Sequence[str]:
    return [
        each.id if isinstance(each, ast.Name) else each.attr
        for each in reversed(list(ast.walk(node)))
        if isinstance(each, ast.Name | ast.Attribute)
    ]
