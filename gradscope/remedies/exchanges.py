"""Edits of what a finding names that has a counterpart: decay rates, the triangle of a mask, a dropout, a
cast, a softmax over several labels."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradscope.records import Finding
from gradscope.remedies.source_code import SourceCode, Spot, bracketed, called, number

Made = Iterator[tuple[str, list[Spot]]]
TRIANGLES = {"triu": "tril", "tril": "triu"}
USUAL_DROPOUT = 0.1


def decay_rates(code: SourceCode, line: int | None, finding: Finding) -> Made:
    for call in (node for node in ast.walk(code.tree) if isinstance(node, ast.Call)):
        given = {each.arg: each.value for each in call.keywords}
        if "b1" in given and "b2" in given:
            one, other = given["b1"], given["b2"]
            yield "exchange b1 and b2", [(one, code.part(other)), (other, code.part(one))]


def triangle(code: SourceCode, line: int | None, finding: Finding) -> Made:
    for call in code.calls(*TRIANGLES):
        name = called(call)
        text = code.part(call.func).removesuffix(name) + TRIANGLES[name]
        yield f"take `{TRIANGLES[name]}` for `{name}` in line {call.lineno}", [(call.func, text)]


def dropout(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """`nn.Dropout(0.5)(x)` goes; and a rate that is a number becomes a usual one."""
    for call in code.calls("Dropout", "dropout", line=line):
        outer = code.parent(call)
        if isinstance(outer, ast.Call) and outer.func is call and outer.args:
            value = bracketed(code.part(outer.args[0]), outer.args[0])
            yield f"leave out the dropout of line {call.lineno}", [(outer, value)]
        rates = [*call.args[:1], *(each.value for each in call.keywords if each.arg in ("rate", "p"))]
        spots: list[Spot] = [(rate, f"{USUAL_DROPOUT:g}") for rate in rates if number(rate) is not None]
        if spots:
            yield f"drop a tenth in line {call.lineno}", spots


def cast(code: SourceCode, line: int | None, finding: Finding) -> Made:
    for call in code.calls("astype", line=line):
        if isinstance(call.func, ast.Attribute):
            yield f"leave out the cast of line {call.lineno}", [(call, code.part(call.func.value))]


def several_labels(code: SourceCode, line: int | None, finding: Finding) -> Made:
    for call in code.calls("softmax_cross_entropy", line=line):
        owner = code.part(call.func).removesuffix("softmax_cross_entropy")
        arguments = ", ".join(code.part(each) for each in call.args)
        if len(call.args) == 2:
            each = f"{owner}sigmoid_binary_cross_entropy({arguments}).mean(-1)"
            yield "let each label be likely by itself: a sigmoid for the softmax", [(call, each)]
