"""Edits of what the loss gets: an array standardized, rows shuffled before they are cut into batches."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.remedies.source_code import Remedy, SourceCode, Spot, assigned, called, number

STANDARDIZE = (
    "unnormalized-input", "unscaled-target", "learning-rate-too-high", "learning-rate-too-low", "dead-units",
    "saturated-units", "exploding-gradient", "diverging-loss", "mis-scaled-initialization",
    "oscillating-loss", "zero-gradient", "noisy-gradient", "loss-not-decreasing",
)  # fmt: skip
NOISY = (
    "noisy-gradient",
    "zero-gradient",
    "learning-rate-too-low",
    "learning-rate-too-high",
    "loss-not-decreasing",
)
ROWS, FEWEST_ROWS = 32, 8
FEW = 8
"""Features whose means and standard deviations are written down one by one."""


@dataclass(frozen=True)
class Scaled:
    """An array of the batch and what would standardize it: one number each, or one for each feature."""

    name: str
    """As the report calls it: `batch[0]`, `batch.x`."""
    is_input: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    missing: tuple[float, ...] = ()
    """Numbers that stand for missing ones."""
    medians: tuple[float, ...] = ()
    """To put in their place, one or one for each feature; those of others are not used."""

    @property
    def is_fixed(self) -> bool:
        """An input whose scale is written down, and is not that of each batch."""
        return self.is_input and (bool(self.missing) or len(self.mean) <= FEW)

    def what(self, name: str) -> str:
        """The edit, where the array is called `name`."""
        numbers = ", ".join(f"{value:.7g}" for value in self.missing)
        return f"replace {numbers} and standardize `{name}`" if numbers else f"standardize `{name}`"


def edits(code: SourceCode, loss: str, arrays: Sequence[Scaled]) -> Iterator[Remedy]:
    function = code.function(loss)
    jnp = code.name_of("jax.numpy")
    if function is not None:
        for array in arrays:
            yield from _standardized(code, function, jnp, array)
        yield from _without_gaps(code, function, jnp)
    else:
        for array in arrays:
            yield from _standardized_at_once(code, jnp, array)
    yield from _shuffled(code)
    yield from _larger_batches(code)


def _standardized(code: SourceCode, function: ast.FunctionDef, jnp: str, array: Scaled) -> Iterator[Remedy]:
    names = [each.arg for each in function.args.args]
    if not code.begins_line(function.body[0]):
        return
    where, _, step = array.name.replace("[", ".").replace("]", "").partition(".")
    if where not in names or not step or "." in step:
        return
    step = step.strip("'\"")
    what = array.what(array.name)
    local = next(_unpacked(function, where, step), None)
    network = _network(code, function, *local) if local is not None and array.is_fixed else None
    if network is not None:
        function, name = network
        line, text = _top(function), f"{name} = {_of(name, jnp, array)}"
    elif local is not None and not _used_beside(function, *local):
        statement, name = local
        line, text = (statement.end_lineno or 0) + 1, f"{name} = {_of(name, jnp, array)}"
    elif step.isdigit():
        value = _of(f"{where}[{step}]", jnp, array)
        line = _top(function)
        text = f"{where} = (*{where}[:{step}], {value}, *{where}[{int(step) + 1}:])"
    else:
        value = _of(f'{where}["{step}"]', jnp, array)
        line = _top(function)
        text = f'{where} = {{**{where}, "{step}": {value}}}'
    indent = code.indent(function.body[0])
    yield Remedy(what, STANDARDIZE, code.path, code.inserted(line, f"{indent}{text}"), not array.is_input)


def _standardized_at_once(code: SourceCode, jnp: str, array: Scaled) -> Iterator[Remedy]:
    """Where the file has the batch or the data as a tuple, and no loss of its own."""
    _, _, step = array.name.replace("[", ".").replace("]", "").partition(".")
    for node in code.tree.body:
        for name in assigned(node) if step.isdigit() else ():
            if name in ("data", "batch"):
                value = _of(f"{name}[{step}]", jnp, array)
                text = f"{name} = (*{name}[:{step}], {value}, *{name}[{int(step) + 1}:])"
                line = (node.end_lineno or node.lineno) + 1
                what = array.what(f"{name}[{step}]")
                edited = code.inserted(line, text)
                yield Remedy(what, STANDARDIZE, code.path, edited, not array.is_input, True)


def _without_gaps(code: SourceCode, function: ast.FunctionDef, jnp: str) -> Iterator[Remedy]:
    """Missing values, which tables have as NaN."""
    where = next((each.arg for each in function.args.args if each.arg in ("batch", "data")), None)
    if where is None or not code.begins_line(function.body[0]):
        return
    line = _top(function)
    filled = f"{where} = {code.name_of('jax')}.tree.map({jnp}.nan_to_num, {where})"
    text = code.inserted(line, f"{code.indent(function.body[0])}{filled}")
    yield Remedy("take 0 for values of the batch that are NaN", ("non-finite",), code.path, text)


def _top(function: ast.FunctionDef) -> int:
    """The line of its first statement, after its docstring."""
    first = function.body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (first.end_lineno or first.lineno) + 1 if text else first.lineno


def _unpacked(function: ast.FunctionDef, where: str, step: str) -> Iterator[tuple[ast.stmt, str]]:
    """`x, y = batch` or `x = batch["x"]`: the statement, and what the array is called from there on."""
    for node in function.body:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target, value = node.targets[0], node.value
        whole = isinstance(value, ast.Name) and value.id == where
        if whole and isinstance(target, ast.Tuple) and step.isdigit() and int(step) < len(target.elts):
            part = target.elts[int(step)]
            if isinstance(part, ast.Name):
                yield node, part.id
        elif isinstance(target, ast.Name) and isinstance(value, ast.Subscript):
            of = isinstance(value.value, ast.Name) and value.value.id == where
            if of and isinstance(value.slice, ast.Constant) and str(value.slice.value) == step:
                yield node, target.id


def _network(
    code: SourceCode, loss: ast.FunctionDef, statement: ast.stmt, name: str
) -> tuple[ast.FunctionDef, str] | None:
    """The function of the file that gets the array from the loss, which does nothing else with it, and what
    it calls it: predictions that are made with that function have to be of the same input."""
    uses = [
        node
        for each in loss.body
        if each is not statement
        for node in ast.walk(each)
        if isinstance(node, ast.Name) and node.id == name
    ]
    call = code.parent(uses[0]) if len(uses) == 1 else None
    if not isinstance(call, ast.Call) or uses[0] not in call.args or not isinstance(call.func, ast.Name):
        return None
    function, place = code.function(call.func.id), call.args.index(uses[0])
    if function is None or function is loss or place >= len(function.args.args):
        return None
    return (function, function.args.args[place].arg) if code.begins_line(function.body[0]) else None


def _used_beside(function: ast.FunctionDef, statement: ast.stmt, name: str) -> bool:
    """On the same line after a semicolon, where no line can come between."""
    beside = [n for n in function.body if n is not statement and n.lineno == statement.end_lineno]
    return any(isinstance(n, ast.Name) and n.id == name for each in beside for n in ast.walk(each))


def _of(name: str, jnp: str, array: Scaled) -> str:
    if array.missing:
        name = _replaced(name, jnp, array)
    elif len(array.mean) > FEW:
        return f"({name} - {name}.mean(0)) / ({name}.std(0) + 1e-6)"
    return f"({name} - {_literal(array.mean, jnp)}) / {_literal(array.std, jnp)}"


def _literal(values: tuple[float, ...], jnp: str, digits: int = 4) -> str:
    written = [f"{value:.{digits}g}" for value in values]
    return written[0] if len(written) == 1 else f"{jnp}.array([{', '.join(written)}])"


def _replaced(name: str, jnp: str, array: Scaled) -> str:
    """Nine digits tell all numbers of float32 apart."""
    numbers = _literal(array.missing, jnp, 9)
    here = f"{name} == {numbers}" if len(array.missing) == 1 else f"{jnp}.isin({name}, {numbers})"
    return f"{jnp}.where({here}, {_literal(array.medians, jnp, 9)}, {name})"


def _shuffled(code: SourceCode) -> Iterator[Remedy]:
    """`batches = [(x[i : i + n], y[i : i + n]) for i in ...]`, whose rows come mixed."""
    numpy = code.imported_as("numpy")
    for node in code.tree.body:
        if not (numpy and isinstance(node, ast.Assign) and isinstance(node.value, ast.ListComp)):
            continue
        named = "batches" in assigned(node)
        names = [
            part.value.id
            for part in ast.walk(node.value.elt)
            if isinstance(part, ast.Subscript)
            and isinstance(part.slice, ast.Slice)
            and isinstance(part.value, ast.Name)
        ]
        if named and names:
            mixed = ", ".join(f"{name}[mixed]" for name in names)
            order = f"mixed = {numpy}.random.default_rng(0).permutation(len({names[0]}))"
            text = f"{order}\n{', '.join(names)} = {mixed}"
            edited = code.inserted(node.lineno, text)
            yield Remedy("mix the rows", ("sorted-batches",), code.path, edited, changes_data=True)


def _larger_batches(code: SourceCode) -> Iterator[Remedy]:
    """`x[i : i + n] for i in range(0, rows, n)`, where n is written down, and small."""
    for node in ast.walk(code.tree):
        if not (isinstance(node, ast.Call) and called(node) == "range" and len(node.args) == 3):
            continue
        loop = code.parent(node)
        around = code.parent(loop) if isinstance(loop, ast.comprehension) else loop
        target = loop.target if isinstance(loop, ast.comprehension | ast.For) else None
        if around is None or not isinstance(target, ast.Name):
            continue
        lengths = [length for each in ast.walk(around) if (length := _length(each, target.id)) is not None]
        size = node.args[2]
        if not lengths or any(code.part(each) != code.part(size) for each in lengths):
            continue
        if isinstance(size, ast.Name):
            size = code.constant(size) or size
            spots: list[Spot] = [(size, str(ROWS))]
        else:
            spots = [(each, str(ROWS)) for each in (size, *lengths)]
        small = number(size)
        if small is not None and 0 < small < FEWEST_ROWS:
            what = f"take batches of {ROWS} rows"
            yield Remedy(what, NOISY, code.path, code.replaced(*spots), changes_data=True)


def _length(node: ast.AST, start: str) -> ast.expr | None:
    """n in `[start : start + n]`."""
    if not isinstance(node, ast.Slice) or not isinstance(node.lower, ast.Name) or node.lower.id != start:
        return None
    end = node.upper
    if not isinstance(end, ast.BinOp) or not isinstance(end.op, ast.Add):
        return None
    return end.right if isinstance(end.left, ast.Name) and end.left.id == start else None
