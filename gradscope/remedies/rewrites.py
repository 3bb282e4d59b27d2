"""Edits of what a finding names that is written otherwise: an axis, a sign, a reshape, a rule of one's own, a
key that is drawn from twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradscope.records import Finding
from gradscope.remedies.exchanges import Made
from gradscope.remedies.source_code import SourceCode, Spot, bracketed, called, name_of, number

SOFTMAXES = ("softmax", "log_softmax")
DRAWS = ("normal", "uniform", "truncated_normal", "orthogonal", "glorot_normal", "he_normal", "lecun_normal")


def own_rule(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """`f.defvjp(forward, backward)` becomes `f = f.__wrapped__`: the function without the rule around it."""
    function = finding.evidence.get("function")
    for call in code.calls("defvjp", "defjvp", "defjvps"):
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if isinstance(owner, ast.Name) and owner.id == function and isinstance(code.parent(call), ast.Expr):
            text = f"{owner.id} = {owner.id}.__wrapped__"
            yield f"let JAX differentiate `{owner.id}`, without its own rule", [(call, text)]


def last_axis(code: SourceCode, line: int | None, finding: Finding) -> Made:
    for call in code.calls(*SOFTMAXES, line=line) or code.calls(*SOFTMAXES):
        axes = [*call.args[1:2], *(each.value for each in call.keywords if each.arg == "axis")]
        spots: list[Spot] = [(axis, "-1") for axis in axes if number(axis) not in (None, -1)]
        if spots:
            yield f"normalize along the last axis in line {call.lineno}", spots


def sign(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """Of a log-likelihood that is minimized: a minus before what the function around the line returns."""
    if set(finding.evidence) != {"classes"}:
        return
    for node in ast.walk(code.tree):
        if not isinstance(node, ast.FunctionDef) or line is None:
            continue
        if not node.lineno <= line <= (node.end_lineno or 0):
            continue
        returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
        if returned and not isinstance(returned[-1], ast.Tuple):
            value = returned[-1]
            yield "put a minus before the loss", [(value, f"-{bracketed(code.part(value), value)}")]


def labels_of_signs(code: SourceCode, line: int | None, finding: Finding) -> Made:
    if (finding.evidence.get("smallest"), finding.evidence.get("largest")) != (-1, 1):
        return
    for call in code.calls("sigmoid_binary_cross_entropy", line=line):
        if len(call.args) > 1:
            labels = call.args[1]
            text = f"({bracketed(code.part(labels), labels)} + 1) / 2"
            yield "bring the labels to 0 and 1", [(labels, text)]


def axes(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """A reshape that should exchange axes: of two axes alone, of heads that are split off, and of both the
    splitting and the merging."""
    both: list[Spot] = []
    for call in code.calls("reshape"):
        if not isinstance(call.func, ast.Attribute) or call.keywords:
            continue
        value, sizes = code.part(call.func.value), [code.part(each) for each in call.args]
        if len(sizes) == 2:
            yield f"exchange the axes in line {call.lineno}", [(call, f"{value}.swapaxes(0, 1)")]
        if len(sizes) == 4:
            kept = ", ".join([sizes[0], sizes[2], sizes[1], sizes[3]])
            both.append((call, f"{value}.reshape({kept}).swapaxes(1, 2)"))
        if len(sizes) == 3:
            both.append((call, f"{value}.swapaxes(1, 2).reshape({', '.join(sizes)})"))
    if both:
        yield "exchange the axes beside each reshape", both
    for spot in both if len(both) > 1 else ():
        yield f"exchange the axes in line {spot[0].lineno}", [spot]  # type: ignore[attr-defined]


def receivers(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """Another argument of the function around takes the place of the nodes that messages are summed by."""
    for call in code.calls("segment_sum", "segment_max", "segment_mean", line=line):
        if len(call.args) < 2 or not isinstance(call.args[1], ast.Name):
            continue
        used = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
        for other in _arguments(code, call):
            if other not in used:
                yield f"sum the messages of line {call.lineno} by `{other}`", [(call.args[1], other)]


def _arguments(code: SourceCode, node: ast.AST) -> Iterator[str]:
    for around in code.around(node):
        if isinstance(around, ast.FunctionDef):
            yield from (each.arg for each in around.args.args)
            return


def another_key(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """Each draw from a key that was drawn from before gets one of its own; in a loop, one of its turn."""
    jax, spots = code.name_of("jax"), list[Spot]()
    for function in (node for node in ast.walk(code.tree) if isinstance(node, ast.FunctionDef)):
        seen: dict[str, int] = {}
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            key = call.args[0] if call.args else None
            if called(call) not in DRAWS or not isinstance(key, ast.Name):
                continue
            count = seen.get(key.id, 0)
            seen[key.id] = count + 1
            if count:
                spots.append((key, f"{jax}.random.fold_in({key.id}, {count})"))
        for loop in (node for node in ast.walk(function) if isinstance(node, ast.For)):
            spots += _by_turn(jax, loop)
    if spots:
        yield "draw from a key of its own each time", spots


def _by_turn(jax: str, loop: ast.For) -> Iterator[Spot]:
    """A key from outside of a loop over numbers that is split in it."""
    if not isinstance(loop.target, ast.Name) or not isinstance(loop.iter, ast.Call):
        return
    if called(loop.iter) != "range":
        return
    inside = {name_of(node) for node in ast.walk(loop) if isinstance(node, ast.Name) and _is_set(node)}
    for call in (node for node in ast.walk(loop) if isinstance(node, ast.Call)):
        key = call.args[0] if call.args else None
        if called(call) == "split" and isinstance(key, ast.Name) and key.id not in inside:
            yield key, f"{jax}.random.fold_in({key.id}, {loop.target.id})"


def _is_set(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
