"""Edits of what stands between layers: another activation function, a residual, a normalization."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradscope.remedies.source_code import Remedy, SourceCode, Spot, assigned, called, name_of, term

BOUNDED = ("sigmoid", "tanh", "hard_tanh", "hard_sigmoid", "soft_sign", "softsign")
RECTIFIED = ("relu", "relu6", "elu", "leaky_relu")
FLOW = (
    "vanishing-gradient", "exploding-gradient", "vanishing-activations", "exploding-activations",
    "saturated-units", "mis-scaled-initialization", "collapsed-representations", "learning-rate-too-low",
    "learning-rate-too-high", "loss-not-decreasing",
)  # fmt: skip
DEAD = ("dead-units", "zero-gradient", "lost-gradient", "learning-rate-too-low", "loss-not-decreasing")
STRAIGHT = ("dead-loss-term", "zero-gradient")


def edits(code: SourceCode) -> Iterator[Remedy]:
    bounded, rectified = _functions(code, BOUNDED), _functions(code, RECTIFIED)
    swaps = (
        (bounded, "relu", FLOW, "take ReLU for {}"),
        (bounded, "gelu", FLOW, "take GELU for {}"),
        (rectified, "gelu", DEAD, "take GELU for {}"),
        (rectified, "leaky_relu", DEAD, "take leaky ReLU for {}"),
        (rectified, "tanh", STRAIGHT, "take tanh for {}"),
    )
    for functions, name, rules, what in swaps:
        spots: list[Spot] = [(each, _named(code, each, name)) for each in functions]
        if spots and (old := name_of(functions[0])) != name:
            yield Remedy(what.format(old), rules, code.path, code.replaced(*spots))
    yield from _named_by_text(code)
    jnp, jax = code.name_of("jax.numpy"), code.name_of("jax")
    steps = list(_steps(code))
    if steps:
        around: list[Spot] = [(value, f"{name} + {term(code.part(value), value)}") for name, value in steps]
        what = "add a residual connection around each layer of the loop"
        yield Remedy(what, FLOW, code.path, code.replaced(*around))
        uses = [(use, _normalized(name, jnp)) for name, value in steps for use in _first_use(value, name)]
        what = "normalize the input of each layer of the loop"
        yield Remedy(what, FLOW, code.path, code.replaced(*uses))
    values = (*(value for _, value in steps), *_lines(code))
    linear = [value for value in values if not _is_activation(value)]
    if linear:
        bent: list[Spot] = [(value, f"{jax}.nn.relu({code.part(value)})") for value in linear]
        yield Remedy("put a ReLU after each layer", ("linear-network",), code.path, code.replaced(*bent))


def _named_by_text(code: SourceCode) -> Iterator[Remedy]:
    """`Dense(64, activation="sigmoid")`, as Keras has it; the last one may be the output's."""
    given = [each.value for each in code.given("activation")]
    texts = [each for each in given if isinstance(each, ast.Constant)][:-1]
    for names, new, rules in ((BOUNDED, "relu", FLOW), (RECTIFIED, "gelu", DEAD)):
        spots: list[Spot] = [(each, f'"{new}"') for each in texts if each.value in names]
        if spots:
            yield Remedy(f"take {new} for hidden activations", rules, code.path, code.replaced(*spots))


def _functions(code: SourceCode, names: tuple[str, ...]) -> list[ast.expr]:
    """Called, or handed on by name."""
    calls = [call.func for call in code.calls(*names) if call.args]
    return sorted([*calls, *code.named(*names)], key=lambda node: (node.lineno, node.col_offset))


def _named(code: SourceCode, owner: ast.expr, name: str) -> str:
    """As the file can say it: from the module of the function that is there now, or from `jax.nn`."""
    if isinstance(owner, ast.Attribute) and code.part(owner.value).rpartition(".")[2] in ("nn", "nnx"):
        return f"{code.part(owner.value)}.{name}"
    return f"{code.name_of('jax')}.nn.{name}"


def _steps(code: SourceCode) -> Iterator[tuple[str, ast.expr]]:
    """`x = f(x)` within a loop."""
    for loop in ast.walk(code.tree):
        if not isinstance(loop, ast.For):
            continue
        for node in loop.body:
            names = assigned(node)
            if len(names) == 1 and isinstance(node, ast.Assign) and _first_use(node.value, names[0]):
                yield names[0], node.value


def _lines(code: SourceCode) -> Iterator[ast.expr]:
    """`x = f(x)` one below the other in a function, as models of a framework have it."""
    for function in ast.walk(code.tree):
        for node in function.body if isinstance(function, ast.FunctionDef) else ():
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                names = assigned(node)
                if any(isinstance(each, ast.Name) and each.id in names for each in node.value.args):
                    yield node.value


def _is_activation(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and called(value) in (*BOUNDED, *RECTIFIED, "gelu", "silu", "swish")


def _first_use(value: ast.expr, name: str) -> list[ast.Name]:
    uses = [node for node in ast.walk(value) if isinstance(node, ast.Name) and node.id == name]
    return sorted(uses, key=lambda node: (node.lineno, node.col_offset))[:1]


def _normalized(name: str, jnp: str) -> str:
    mean, deviation = f"{name}.mean(-1, keepdims=True)", f"{name}.std(-1, keepdims=True)"
    return f"(({name} - {mean}) / ({deviation} + 1e-5))"
