"""Logarithms of a softmax or a sigmoid in one step, whatever name the probabilities were given before."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradscope.remedies.source_code import SourceCode, Spot, assigned, bracketed, called, number

IN_ONE_STEP = {"softmax": "log_softmax", "sigmoid": "log_sigmoid"}


def in_one_step(code: SourceCode, line: int | None) -> tuple[list[Spot], list[str]]:
    """All logarithms of a line that have a form of their own, and the functions that compute these."""
    spots, functions = list[Spot](), list[str]()
    for call in code.calls("log", "log1p", line=line):
        made = _logarithm(code, call, call.args[0]) if call.args else None
        if made is not None:
            spots.append((call, made[0]))
            functions.append(made[1])
    return spots, list(dict.fromkeys(functions))


def _logarithm(code: SourceCode, call: ast.Call, inner: ast.expr) -> tuple[str, str] | None:
    """The text in its place, and the function that computes it."""
    inner = _meant(code, inner)
    if called(call) == "log":
        sign = _one_less(inner)
        if sign is None:
            return _of_part(code, inner)
        return _mirrored(code, _meant(code, sign))
    if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.USub):
        return _mirrored(code, _meant(code, inner.operand))
    return None


def _of_part(code: SourceCode, node: ast.expr) -> tuple[str, str] | None:
    """Of the probabilities themselves, or of some that are looked up."""
    if isinstance(node, ast.Subscript):
        made = _whole(code, _meant(code, node.value))
        return None if made is None else (f"{made[0]}[{code.part(node.slice)}]", made[1])
    if isinstance(node, ast.Call) and called(node) == "take_along_axis" and node.args:
        made = _whole(code, _meant(code, node.args[0]))
        rest = [*map(code.part, node.args[1:]), *(code.part(each) for each in node.keywords)]
        return None if made is None else (f"{code.part(node.func)}({', '.join([made[0], *rest])})", made[1])
    return _whole(code, node)


def _whole(code: SourceCode, node: ast.expr) -> tuple[str, str] | None:
    if not isinstance(node, ast.Call) or called(node) not in IN_ONE_STEP or not node.args:
        return None
    function = IN_ONE_STEP[called(node)]
    arguments = [*map(code.part, node.args), *(code.part(each) for each in node.keywords)]
    return f"{code.name_of('jax')}.nn.{function}({', '.join(arguments)})", function


def _mirrored(code: SourceCode, node: ast.expr) -> tuple[str, str] | None:
    """log(1 - sigmoid(x)); that of 1 less a softmax has no function of its own."""
    if not isinstance(node, ast.Call) or called(node) != "sigmoid" or len(node.args) != 1:
        return None
    value = bracketed(code.part(node.args[0]), node.args[0])
    return f"{code.name_of('jax')}.nn.log_sigmoid(-{value})", "log_sigmoid"


def _one_less(node: ast.expr) -> ast.expr | None:
    """p in `1 - p`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and number(node.left) == 1:
        return node.right
    return None


def _meant(code: SourceCode, node: ast.expr) -> ast.expr:
    """What a name stands for, where its function gives it one value, made of names that keep theirs."""
    for _ in range(2):
        value = _value(code, node) if isinstance(node, ast.Name) else None
        if value is None:
            break
        node = value
    return node


def _value(code: SourceCode, name: ast.Name) -> ast.expr | None:
    function = next((each for each in code.around(name) if isinstance(each, ast.FunctionDef)), None)
    if function is None:
        return None
    counts = list(_written(function))
    values = [
        each.value
        for each in ast.walk(function)
        if isinstance(each, ast.Assign) and assigned(each) == [name.id] and len(each.targets) == 1
    ]
    if len(values) != 1 or counts.count(name.id) != 1:
        return None
    read = [each.id for each in ast.walk(values[0]) if isinstance(each, ast.Name)]
    return None if name.id in read or any(counts.count(each) > 1 for each in read) else values[0]


def _written(function: ast.FunctionDef) -> Iterator[str]:
    """Each name once for each time that it gets a value, parameters too."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
