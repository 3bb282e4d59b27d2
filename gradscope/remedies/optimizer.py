"""Edits of the line that makes the optimizer: its rate, what stands before and after it, another one."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from gradscope.remedies.source_code import Remedy, SourceCode, Spot, assigned, called, number, root

NAMES = ("optimizer", "opt", "optim", "tx")
WRAPPERS = frozenset(
    {"chain", "MultiSteps", "masked", "multi_transform", "partition", "apply_if_finite", "lookahead"}
)
LOWER, HIGHER = (0.3, 0.1, 0.03, 0.01, 0.001), (3.0, 10.0, 30.0, 100.0, 1000.0)
TOO_HIGH = (
    "learning-rate-too-high", "diverging-loss", "oscillating-loss", "non-finite-update", "exploding-gradient",
    "exploding-through-time", "loss-spike", "noisy-gradient", "dead-units", "lost-gradient",
)  # fmt: skip
TOO_LOW = (
    "learning-rate-too-low",
    "loss-not-decreasing",
    "invisible-update",
    "vanishing-gradient",
    "plateau",
)
WIRED = (
    "not-updated",
    "ascending-update",
    "loss-not-decreasing",
    "learning-rate-too-low",
    "optimizer-regression",
)


def edits(code: SourceCode) -> Iterator[Remedy]:
    yield from _of_keras(code)
    found: list[ast.expr] = _innermost(code, [*expressions(code)]) or [*_assigned(code)]
    optax = code.imported_as("optax")
    if not found or optax is None:
        return
    rules: tuple[str, ...]
    constant: list[Spot] = [
        (call, code.part(peak)) for call in _schedules(code, optax) if (peak := _peak(call)) is not None
    ]
    if constant:
        text = code.replaced(*constant)
        rules = (*TOO_LOW, *WIRED, "decayed-learning-rate")
        yield Remedy("take a constant learning rate", rules, code.path, text)
    for factor in (*LOWER, *HIGHER):
        scaled = _scaled(code, found, factor, optax)
        rules = TOO_HIGH if factor < 1 else TOO_LOW
        yield Remedy(f"multiply the learning rate by {factor:g}", rules, code.path, scaled)
    for keyword, what, value in (
        ("weight_decay", "take the weight decay away", "0.0"),
        ("eps", "take the usual epsilon of 1e-8", "1e-8"),
    ):
        given = [each.value for one in found for each in code.given(keyword, within=one)]
        spots: list[Spot] = [(node, value) for node in given if number(node) not in (None, float(value))]
        if spots:
            yield Remedy(what, (*TOO_LOW, *WIRED, "weight-decay-too-high"), code.path, code.replaced(*spots))
    forms: tuple[tuple[str, tuple[str, ...], str], ...] = (
        ("reverse the sign of every update", WIRED, f"{optax}.chain({{}}, {optax}.scale(-1.0))"),
        (
            "clip the gradient to a global norm of 1",
            TOO_HIGH,
            f"{optax}.chain({optax}.clip_by_global_norm(1.0), {{}})",
        ),
        ("take Adam at its usual rate of 0.001", (*WIRED, *TOO_LOW, *TOO_HIGH), f"{optax}.adam(1e-3)"),
    )
    for what, rules, form in forms:
        changed = code.replaced(*((one, form.format(code.part(one))) for one in found))
        yield Remedy(what, rules, code.path, changed)


def _of_keras(code: SourceCode) -> Iterator[Remedy]:
    """`keras.optimizers.Adam(1e-3)`: the rate where it stands."""
    calls = [n for n in ast.walk(code.tree) if isinstance(n, ast.Call) and "optimizers." in code.part(n.func)]
    rates = [rate for call in calls if code.part(call.func).startswith("keras.") and (rate := _rate(call))]
    value = number(rates[0]) if len(rates) == 1 else None
    for factor in (*LOWER, *HIGHER) if value else ():
        text = code.replaced((rates[0], _rate_of((value or 0.0) * factor)))
        rules = TOO_HIGH if factor < 1 else TOO_LOW
        yield Remedy(f"multiply the learning rate by {factor:g}", rules, code.path, text)


def _schedules(code: SourceCode, optax: str) -> list[ast.Call]:
    calls = [n for n in ast.walk(code.tree) if isinstance(n, ast.Call) and root(n.func) == optax]
    return [call for call in calls if called(call).endswith(("_schedule", "_decay"))]


def _peak(schedule: ast.Call) -> ast.AST | None:
    """The highest rate, where it is written as a number."""
    name, place = ("peak_value", 1) if called(schedule).startswith("warmup") else ("init_value", 0)
    given = next((each.value for each in schedule.keywords if each.arg == name), None)
    found = given if given is not None else schedule.args[place] if len(schedule.args) > place else None
    return found if number(found) else None


def expressions(code: SourceCode) -> Iterator[ast.Call]:
    """The calls of optax that make the optimizer, each as a whole."""
    optax = code.imported_as("optax")
    for node in ast.walk(code.tree):
        value: ast.AST | None = None
        if _names_it(node) or (isinstance(node, ast.keyword) and node.arg in NAMES):
            value = node.value  # type: ignore[attr-defined]
        elif isinstance(node, ast.FunctionDef) and node.name == "optimizer":
            value = next((n.value for n in node.body if isinstance(n, ast.Return)), None)
        if value is not None:
            yield from _outermost(value, optax)


def _innermost(code: SourceCode, found: list[ast.Call]) -> list[ast.expr]:
    """Without those that are made of another one by its name, `chain(clip(1.0), tx)`: no edit acts twice."""
    made = {name for one in found for above in code.around(one) for name in assigned(above) if name in NAMES}
    once = list(dict.fromkeys(found))
    rest = [one for one in once if not any(isinstance(n, ast.Name) and n.id in made for n in ast.walk(one))]
    return [*(rest or once)]


def _assigned(code: SourceCode) -> Iterator[ast.expr]:
    """Whatever the file calls its optimizer: it can be wrapped, if it is one of optax."""
    return (node.value for node in code.tree.body if isinstance(node, ast.Assign) and _names_it(node))


def _names_it(node: ast.AST) -> bool:
    """Whether it is an assignment to one of the names of an optimizer."""
    return any(name in NAMES for name in assigned(node))


def _outermost(node: ast.AST, module: str | None) -> Iterator[ast.Call]:
    if isinstance(node, ast.Call) and root(node.func) == module and _makes(node):
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _outermost(child, module)


def _makes(node: ast.Call) -> bool:
    """A transformation: a function of optax, a class that is one, or what `inject_hyperparams(adam)` gave."""
    return called(node)[:1].islower() or called(node) in WRAPPERS or isinstance(node.func, ast.Call)


def _scaled(code: SourceCode, found: Sequence[ast.expr], factor: float, optax: str) -> str:
    """The rate where it is written as a number; else what the optimizer asks for is multiplied."""
    spots: list[Spot] = []
    for expression in found:
        rates = [rate for call in _inner(expression) if (rate := _rate(call)) is not None]
        written = code.constant(rates[0]) or rates[0] if len(rates) == 1 else None
        value = number(written)
        if written is None or not value:
            spots.append((expression, f"{optax}.chain({code.part(expression)}, {optax}.scale({factor:g}))"))
        elif written is rates[0] or code.uses(rates[0]) == 1:
            spots.append((written, _rate_of(value * factor)))
        else:
            spots.append((rates[0], f"{code.part(rates[0])} * {factor:g}"))
    return code.replaced(*spots)


def _rate_of(value: float) -> str:
    """As a float, which Keras asks for."""
    text = f"{value:g}"
    return text if set(".e") & set(text) else f"{text}.0"


def _inner(node: ast.expr) -> list[ast.Call]:
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return [each for each in calls if called(each) not in WRAPPERS]


def _rate(node: ast.Call) -> ast.AST | None:
    if called(node).startswith(("scale", "clip", "add_", "trace", "set_to", "centralize", "ema")):
        return None
    if called(node).endswith("schedule"):  # the place of its highest rate depends on its kind
        return None
    named = next((k.value for k in node.keywords if k.arg == "learning_rate"), None)
    if named is not None or not node.args:
        return named
    first = node.args[0]
    return first if isinstance(first, ast.Name) or number(first) is not None else None
