"""Calls in a user's file whose results are thrown away although they do nothing else, read from its text.

The training loop of a file does not run in a check: it stands under a main guard or in a function that nobody
calls. What it does with results is all that can be told of it, and JAX's functions have no other effect.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from gradscope.load.model.optimizers import is_optimizer
from gradscope.load.model.train_step import TrainStep
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
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, *_LOOPS)


def discarded_results(names: Mapping[str, Any], file: str, step: TrainStep | None) -> list[DiscardedResult]:
    """In the order of the file; `names` are those of its module. Of `step`, where what it trains comes back
    as a result, also loops that give it the same parameters again and again, where no loop keeps them."""
    text = read(Path(file))
    lines = text.decode(errors="replace").splitlines()
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a notebook's text, or one that has changed since
        return []

    def source(node: ast.stmt) -> Source:
        return Source(shown_path(file), node.lineno, lines[node.lineno - 1].strip())

    found = [
        DiscardedResult(source(statement), ast.unparse(statement.value.func), kind)
        for statement in _statements(tree)
        if (kind := _effectless(statement.value, names)) is not None
    ]
    if step is not None:
        loops = [loop for loop in ast.walk(tree) if isinstance(loop, _LOOPS) and _calls(loop, step.name)]
        stale = [each for loop in loops for each in _stale(loop, step)]
        if len({id(loop) for loop, _, _ in stale}) == len(loops):
            found += [
                DiscardedResult(source(call), step.name, "the same", name) for _, call, name in stale[:1]
            ]
    return sorted(found, key=lambda each: each.source.line)


class _Statement(ast.Expr):
    value: ast.Call


def _statements(tree: ast.Module) -> Iterator[_Statement]:
    """Calls that stand as statements inside of functions and loops; at the level of a file they may be what a
    notebook shows."""
    for scope in ast.walk(tree):
        if isinstance(scope, _SCOPES):
            for statement in _own(scope):
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                    yield statement  # type: ignore[misc]


def _own(scope: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a function or loop, without those of functions and loops in it."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, _SCOPES):
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
    return "optimizer" if is_transform and function.attr in ("update", "init") else None


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What a dotted name stands for at the level of the file."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(owner := _value(node.value, names), ModuleType):
        return getattr(owner, node.attr, None)
    return None


def _calls(loop: ast.AST, name: str) -> list[ast.Call]:
    """Of a function of the file, in this loop and in no loop inside of it."""
    nodes = [node for statement in _own(loop) for node in _expressions(statement)]
    return [node for node in nodes if isinstance(node, ast.Call) and _is_named(node.func, name)]


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.stmt):
            yield from ast.walk(child)


def _is_named(function: ast.expr, name: str) -> bool:
    return isinstance(function, ast.Name) and function.id == name


def _stale(loop: ast.AST, step: TrainStep) -> Iterator[tuple[ast.AST, ast.stmt, str]]:
    """Calls of the step whose parameters are a name to which nothing in the loop gives another value."""
    given = {
        node.id for node in ast.walk(loop) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    given |= {
        root
        for node in ast.walk(loop)
        if isinstance(node, ast.Subscript | ast.Attribute)
        for root in [_root(node)]
        if isinstance(node.ctx, ast.Store) and root is not None
    }
    for statement in _own(loop):
        for node in _expressions(statement):
            if isinstance(node, ast.Call) and _is_named(node.func, step.name):
                argument = step.trained_argument(node)
                if isinstance(argument, ast.Name) and argument.id not in given:
                    yield loop, statement, argument.id


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
