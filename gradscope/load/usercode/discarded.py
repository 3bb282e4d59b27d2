"""Calls in a user's file whose results are thrown away although they do nothing else, read from its text.

The training loop of a file does not run in a check: it stands under a main guard or in a function that nobody
calls. What it does with results is all that can be told of it, and JAX's functions have no other effect.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from gradscope.load.model.optimizers import is_optimizer
from gradscope.load.usercode.edited import read
from gradscope.load.usercode.user_code import shown_path
from gradscope.records import DiscardedResult, Source

_PURE_MODULES = ("jax.numpy", "jax.nn", "jax.random", "jax.tree")
_PURE_FUNCTIONS = {
    ("optax", "apply_updates"), ("optax", "incremental_update"), ("equinox", "apply_updates"),
    ("equinox", "tree_at"),
}  # fmt: skip
_NOT_PURE = ("save", "savez", "set_printoptions", "map")
_UPDATES_OF_AT = ("set", "add", "subtract", "multiply", "mul", "divide", "power", "min", "max", "apply")
_LOOPS = (ast.For, ast.While)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, *_LOOPS)
Argument = Callable[[ast.Call], ast.expr | None]


def discarded_results(names: Mapping[str, Any], file: str) -> list[DiscardedResult]:
    """In the order of the file; `names` are those of its module."""
    text = Text(file)
    found = [
        DiscardedResult(text.source(statement), ast.unparse(call.func), kind)
        for statement, call, local in _statements(text.tree, frozenset())
        if (kind := _effectless(call, {n: v for n, v in names.items() if n not in local})) is not None
    ]
    return sorted(found, key=lambda each: each.source.line)


class Text:
    """A file as it is, or would be after an edit; without statements where it is no Python."""

    def __init__(self, file: str) -> None:
        self._file, text = file, read(Path(file))
        self._lines = text.decode(errors="replace").splitlines()
        try:
            self.tree = ast.parse(text)
        except SyntaxError:  # it has changed since it was run
            self.tree = ast.Module([], [])

    def source(self, node: ast.stmt) -> Source:
        return Source(shown_path(self._file), node.lineno, self._lines[node.lineno - 1].strip())


def same_parameters(file: str, step: str, argument: Argument) -> tuple[Source, str] | None:
    """Where a loop calls a function of that name with what `argument` picks out of the call, a name to which
    nothing in the loop gives another value: its first such call and that name. `None` where any other part of
    the file uses the function: it may keep what comes back."""
    text = Text(file)
    uses = [node for node in ast.walk(text.tree) if isinstance(node, ast.Name) and node.id == step]
    found: dict[int, tuple[ast.stmt, str]] = {}
    for loop in _outermost(text.tree):
        kept = _stored(loop) | _asked(loop)
        for statement, call in _calls(loop, step):
            given = argument(call)
            if isinstance(given, ast.Name) and given.id not in kept:
                found[id(call.func)] = statement, given.id
    if not found or any(id(node) not in found for node in uses):
        return None
    statement, name = min(found.values(), key=lambda each: each[0].lineno)
    return text.source(statement), name


def _outermost(scope: ast.AST) -> Iterator[ast.For | ast.While]:
    """Loops that stand in no other loop."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, _LOOPS):
            yield child
        else:
            yield from _outermost(child)


def _statements(scope: ast.AST, local: frozenset[str]) -> Iterator[tuple[ast.stmt, ast.Call, frozenset[str]]]:
    """Calls that stand as statements inside of functions and loops, and the names that mean something of the
    functions around them. At the level of a file they may be what a notebook shows."""
    inside = isinstance(scope, _SCOPES)
    if isinstance(scope, _FUNCTIONS):
        local |= {each.arg for each in ast.walk(scope.args) if isinstance(each, ast.arg)} | _stored(scope)
    for child in _own(scope):
        if inside and isinstance(child, ast.Expr) and isinstance(child.value, ast.Call):
            yield child, child.value, local
        if isinstance(child, (*_SCOPES, ast.ClassDef)):
            yield from _statements(child, local)


def _own(scope: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a function or loop, without those of functions and loops in it."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.stmt):
            yield child
        expects_an_error = isinstance(child, ast.Try) and child.handlers
        if not isinstance(child, (*_SCOPES, ast.ClassDef)) and not expects_an_error:
            yield from _own(child)


def _effectless(call: ast.Call, names: Mapping[str, Any]) -> str | None:
    """What kind of call without another effect than its result this is; `None` for any other."""
    function = call.func
    if not isinstance(function, ast.Attribute):
        return None
    below = function.value
    if isinstance(below, ast.Subscript) and isinstance(below.value, ast.Attribute):
        return "array" if below.value.attr == "at" and function.attr in _UPDATES_OF_AT else None
    if function.attr == "apply_gradients" and any(word.arg == "grads" for word in call.keywords):
        return "state"
    owner = _value(below, names)
    if isinstance(owner, ModuleType):
        pure = owner.__name__ in _PURE_MODULES and function.attr not in _NOT_PURE
        return "function" if pure or (owner.__name__, function.attr) in _PURE_FUNCTIONS else None
    is_transform = is_optimizer(owner) and type(owner).__name__.startswith("GradientTransformation")
    return "optimizer" if is_transform and function.attr == "update" else None


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What a dotted name stands for at the level of the file."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(owner := _value(node.value, names), ModuleType):
        return getattr(owner, node.attr, None)
    return None


def _calls(loop: ast.AST, name: str) -> Iterator[tuple[ast.stmt, ast.Call]]:
    """Of a function of the file, in a loop and those in it, with the statement in which each stands."""
    for statement in ast.walk(loop):
        for child in ast.iter_child_nodes(statement) if isinstance(statement, ast.stmt) else ():
            for node in ast.walk(child) if not isinstance(child, ast.stmt) else ():
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                    yield statement, node  # type: ignore[misc]


def _stored(scope: ast.AST) -> set[str]:
    """Names that something in it gives a value, or a part of one."""
    targets = [
        node
        for node in ast.walk(scope)
        if isinstance(node, ast.Name | ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store)
    ]
    return {root for node in targets if (root := _root(node)) is not None}


def _asked(scope: ast.AST) -> set[str]:
    """Names whose methods it calls, which may change them."""
    calls = [node.func for node in ast.walk(scope) if isinstance(node, ast.Call)]
    return {root for each in calls if isinstance(each, ast.Attribute) and (root := _root(each)) is not None}


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
