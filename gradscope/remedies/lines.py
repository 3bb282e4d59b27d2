"""Edits of the line that a finding names: a cut is opened, a value kept in its domain, a shape mended."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from gradscope.records import Finding
from gradscope.remedies import exchanges, rewrites
from gradscope.remedies.exchanges import Made
from gradscope.remedies.logarithms import in_one_step
from gradscope.remedies.source_code import Remedy, SourceCode, Spot, bracketed, called, number, on, term

STAIRS = ("round", "floor", "ceil", "sign")
LAST = ("softmax", "log_softmax", "relu", "tanh", "sigmoid", "softplus")
ELEMENTWISE = (ast.Sub, ast.Add, ast.Mult, ast.Div)
PAIRED = (
    "squared_error",
    "huber_loss",
    "l2_loss",
    "cosine_distance",
    "sigmoid_binary_cross_entropy",
    "log_cosh",
)
OF_LABELS = {"softmax_cross_entropy_with_integer_labels": 1, "one_hot": 0, "take_along_axis": 1}
PRODUCTS = ("einsum", "matmul", "dot", "dot_general", "tensordot")
MASKED = -1e9
IN_ONE_STEP = {
    "log_softmax": "take `log_softmax` for the logarithm of a softmax",
    "log_sigmoid": "take `log_sigmoid` for the logarithm of a sigmoid",
}
BOTH_IN_ONE_STEP = "take `log_softmax` and `log_sigmoid` for logarithms"
COUNTED = "let the labels count from 0"
SAME_LOSS = (
    "blocked-gradient", "unscaled-attention", "mismatched-betas", "hidden-past", "rounded-input",
    "wrong-gradient", "wrong-attention-axis", "reshape-for-transpose", "returned-messages",
    "copied-initialization", "symmetric-units",
)  # fmt: skip
FINITE = ("non-finite", "unstable-expression", "non-finite-update")


def edits(code: SourceCode, findings: Sequence[Finding]) -> Iterator[Remedy]:
    """Of the findings that name a line of this file."""
    for finding in findings:
        make = MAKERS.get(finding.rule)
        line = finding.source.line if finding.source is not None else None
        if make is None:
            continue
        changes = finding.rule not in (*FINITE, *SAME_LOSS)
        for what, spots in make(code, line, finding):
            yield Remedy(what, (finding.rule,), code.path, code.replaced(*spots), changes or what == COUNTED)


def _cut(code: SourceCode, line: int | None, finding: Finding) -> Made:
    for call in code.calls("stop_gradient", line=line):
        if call.args:
            yield "remove the `stop_gradient`", [(call, bracketed(code.part(call.args[0]), call.args[0]))]
    jax = code.name_of("jax")
    for call in code.calls(*STAIRS, line=line):
        if call.args:
            through, whole = code.part(call.args[0]), code.part(call)
            value, minus = term(through, call.args[0]), bracketed(through, call.args[0])
            estimator = f"({value} + {jax}.lax.stop_gradient({whole} - {minus}))"
            yield f"let the gradient pass straight through the {called(call)}", [(call, estimator)]
    for call in code.calls("one_hot", line=line):
        chosen = call.args[0] if call.args else None
        if isinstance(chosen, ast.Call) and called(chosen) == "argmax" and chosen.args:
            scores, whole = code.part(chosen.args[0]), code.part(call)
            soft = f"{jax}.nn.softmax({scores})"
            estimator = f"({soft} + {jax}.lax.stop_gradient({whole} - {soft}))"
            yield "choose straight through: the gradient is that of the softmax", [(call, estimator)]


def _last(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """The last activation function goes; where the line is that of the loss, it stands in another one."""
    found = code.calls(*LAST, line=line) or code.calls(*LAST)
    for call in found[:6]:
        if call.args:
            yield (
                f"take away the {called(call)} of line {call.lineno}",
                [(call, bracketed(code.part(call.args[0]), call.args[0]))],
            )


def _output(code: SourceCode, line: int | None, finding: Finding) -> Made:
    yield from exchanges.several_labels(code, line, finding)
    yield from rewrites.sign(code, line, finding)
    yield from rewrites.labels_of_signs(code, line, finding)
    yield from _last(code, line, finding)


def _broadcast(code: SourceCode, line: int | None, finding: Finding) -> Made:
    jnp = code.name_of("jax.numpy")
    for one, other in _operands(code, line):
        for node in (one, other):
            yield (
                f"take the last axis off `{code.part(node)}`",
                [(node, f"{jnp}.squeeze({code.part(node)}, -1)")],
            )
        for node in (one, other):
            yield (
                f"add a last axis to `{code.part(node)}`",
                [(node, f"{jnp}.expand_dims({code.part(node)}, -1)")],
            )


def _at(code: SourceCode, line: int | None) -> Iterator[ast.AST]:
    """All that stands on a line, or reaches over it; nothing where no line is named."""
    return (node for node in ast.walk(code.tree) if line is not None and on(node, line))


def _operands(code: SourceCode, line: int | None) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in _at(code, line):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ELEMENTWISE):
            if number(node.left) is None and number(node.right) is None:
                yield node.left, node.right
        elif isinstance(node, ast.Call) and called(node) in PAIRED and len(node.args) > 1:
            yield node.args[0], node.args[1]


def _domain(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """Forms that compute the same, or a value that is kept off the edge of a function's domain."""
    jnp, jax = code.name_of("jax.numpy"), code.name_of("jax")
    spots, functions = in_one_step(code, line)
    if functions:
        yield IN_ONE_STEP[functions[0]] if len(functions) == 1 else BOTH_IN_ONE_STEP, spots
    for call in code.calls("log", line=line):
        inner = call.args[0] if call.args else None
        if any(call is spot for spot, _ in spots):
            continue
        if (exponent := _one_and_exp(inner)) is not None:
            yield "take `softplus` for log(1 + exp(x))", [(call, f"{jax}.nn.softplus({code.part(exponent)})")]
        elif inner is not None:
            yield (
                "keep the logarithm's argument at 1e-7 or more",
                [(inner, f"{jnp}.maximum({code.part(inner)}, 1e-7)")],
            )
    for call in code.calls("log1p", line=line):
        inner = call.args[0] if call.args else None
        if isinstance(inner, ast.Call) and called(inner) == "exp" and inner.args:
            yield (
                "take `softplus` for log(1 + exp(x))",
                [(call, f"{jax}.nn.softplus({code.part(inner.args[0])})")],
            )
    for call in code.calls("sqrt", line=line):
        if call.args:
            yield (
                "keep the root's argument at 1e-12 or more",
                [(call.args[0], f"{jnp}.maximum({code.part(call.args[0])}, 1e-12)")],
            )
    for call in code.calls("exp", line=line):
        if call.args:
            yield (
                "keep the exponential's argument at 30 or less",
                [(call.args[0], f"{jnp}.minimum({code.part(call.args[0])}, 30.0)")],
            )
    for node in _at(code, line):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and number(node.right) is None:
            below = code.part(node.right)
            safe = f"{jnp}.where({term(below, node.right)} == 0, 1, {below})"
            yield f"divide by 1 where `{below}` is 0", [(node.right, safe)]
    yield from _labels(code, line, finding)
    infinite = [node for node in ast.walk(code.tree) if _minus_infinity(code, node)]
    if infinite:
        yield f"mask with {MASKED:g} instead of minus infinity", [(node, f"{MASKED:g}") for node in infinite]
    if wide := _wide(code):
        yield "compute in float32", wide


def _one_and_exp(node: ast.AST | None) -> ast.AST | None:
    """x in `1 + exp(x)`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if number(one) == 1 and isinstance(other, ast.Call) and called(other) == "exp" and other.args:
                return other.args[0]
    return None


def _minus_infinity(code: SourceCode, node: ast.AST) -> bool:
    if not isinstance(node, ast.UnaryOp) or not isinstance(node.op, ast.USub):
        return False
    return isinstance(node.operand, ast.Attribute) and node.operand.attr == "inf"


def _widened(code: SourceCode, line: int | None, finding: Finding) -> Made:
    if wide := _wide(code):
        yield "keep the weights in float32", wide


def _wide(code: SourceCode) -> list[Spot]:
    """float32 wherever the file names a half precision."""
    attributes = (node for node in ast.walk(code.tree) if isinstance(node, ast.Attribute))
    narrow = (node for node in attributes if node.attr in ("float16", "bfloat16"))
    return [(node, f"{code.part(node.value)}.float32") for node in narrow]


def _scores(code: SourceCode, line: int | None, finding: Finding) -> Made:
    width = finding.evidence.get("width")
    if not isinstance(width, int | float):
        return
    for node in _at(code, line):
        product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
        product |= isinstance(node, ast.Call) and called(node) in PRODUCTS
        if product:
            yield (
                f"divide the scores by the root of their width, {width:g}",
                [(node, f"({bracketed(code.part(node), node)} / {width:g}**0.5)")],
            )


def _causal(code: SourceCode, line: int | None, finding: Finding) -> Made:
    """A mask that is there may be upside down: another one on top would leave each place itself alone."""
    yield from exchanges.triangle(code, line, finding)
    jnp = code.name_of("jax.numpy")
    for call in code.calls("softmax"):
        if call.args:
            scores = call.args[0]
            shape = f"{bracketed(code.part(scores), scores)}.shape[-2:]"
            masked = f"{jnp}.where({jnp}.tri(*{shape}, dtype=bool), {code.part(scores)}, -{jnp}.inf)"
            yield f"mask what comes later in the softmax of line {call.lineno}", [(scores, masked)]


def _labels(code: SourceCode, line: int | None, finding: Finding) -> Made:
    for call in code.calls(*OF_LABELS, line=line) or code.calls(*OF_LABELS):
        place = OF_LABELS[called(call)]
        if len(call.args) > place:
            labels = call.args[place]
            yield COUNTED, [(labels, f"{bracketed(code.part(labels), labels)} - 1")]


def _mode(code: SourceCode, line: int | None, finding: Finding) -> Made:
    other = {"use_running_average": "False", "is_training": "True", "train": "True", "training": "True"}
    for each in code.given(*other):
        wanted = other[each.arg or ""]
        if isinstance(each.value, ast.Constant) and str(each.value.value) != wanted:
            yield f"write `{each.arg}={wanted}`", [(each.value, wanted)]


MAKERS: dict[str, Callable[[SourceCode, int | None, Finding], Made]] = {
    "blocked-gradient": _cut,
    "dead-loss-term": _cut,
    "disconnected-parameter": _cut,
    "mismatched-output": _output,
    "mismatched-betas": exchanges.decay_rates,
    "hidden-past": exchanges.triangle,
    "dropout-too-high": exchanges.dropout,
    "rounded-input": exchanges.cast,
    "wrong-gradient": rewrites.own_rule,
    "batch-leak": rewrites.last_axis,
    "wrong-attention-axis": rewrites.last_axis,
    "reshape-for-transpose": rewrites.axes,
    "returned-messages": rewrites.receivers,
    "copied-initialization": rewrites.another_key,
    "symmetric-units": rewrites.another_key,
    "broadcast-loss": _broadcast,
    "unscaled-attention": _scores,
    "future-leak": _causal,
    "index-out-of-range": _labels,
    "wrong-mode": _mode,
    "invisible-update": _widened,
    **dict.fromkeys(FINITE, _domain),
}
