"""Edits of how weights begin: the initializations of the field in place of what a file draws by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradscope.remedies.source_code import Remedy, SourceCode, called, root

DRAWS = ("normal", "uniform", "truncated_normal")
FILLED = ("ones", "zeros", "full")
USUAL = {
    "he_normal": "He's initialization",
    "lecun_normal": "LeCun's initialization",
    "orthogonal": "orthogonal weights",
}
OF_BIASES = ("bias_init", "b_init")
OF_FRAMEWORKS = ("kernel_init", "w_init", "embedding_init")
OF_KERAS = ("kernel_initializer", "recurrent_initializer", "embeddings_initializer")
"""Whose initializers take a shape and no key, and have names."""
OF_DATA = ("batch", "data", "sample", "loader")
OF_WEIGHTS = ("param", "weight", "kernel", "theta", "model", "net", "layer")
"""Parts of names, of functions that draw data and of variables outside of functions that hold weights."""
RULES = (
    "mis-scaled-initialization", "vanishing-gradient", "exploding-gradient", "vanishing-through-time",
    "exploding-through-time", "saturated-units", "dead-units", "zero-gradient", "symmetric-units",
    "constant-output", "attention-collapse", "vanishing-activations", "exploding-activations",
    "copied-initialization", "unscaled-attention", "learning-rate-too-high", "learning-rate-too-low",
    "loss-not-decreasing",
)  # fmt: skip


def edits(code: SourceCode) -> Iterator[Remedy]:
    jax = code.name_of("jax")
    drawn = [(node, call) for node, call in _products(code) if _axes(call) == 2]
    filled = [call for call in code.calls(*FILLED) if _axes(call) == 2 and _key(code, call)]
    named = _values(code, *OF_FRAMEWORKS)
    for name, what in USUAL.items():
        make = f"{jax}.nn.initializers.{name}()"
        spots: list[tuple[ast.AST, str]] = [
            (node, f"{make}({code.part(call.args[0])}, {code.part(_shape(call))})") for node, call in drawn
        ]
        for place, call in enumerate(filled):
            key = f"{jax}.random.fold_in({_key(code, call)}, {place})"
            spots.append((call, f"{make}({key}, {code.part(_shape(call))})"))
        spots += [(value, make) for value in (*named, *_initializers(code))]
        spots += [(value, f'"{name}"') for value in _values(code, *OF_KERAS)]
        if spots:
            yield Remedy(f"begin with {what}", RULES, code.path, code.replaced(*spots))
    module = code.name_of("jax.numpy")
    spots = [
        (call, f"{module}.zeros({code.part(call.args[0])})")
        for call in code.calls("full")
        if _axes(call) == 1
    ]
    spots += [(value, f"{jax}.nn.initializers.zeros") for value in _values(code, *OF_BIASES)]
    spots += [(value, '"zeros"') for value in _values(code, "bias_initializer")]
    if spots:
        yield Remedy("begin with biases of 0", RULES, code.path, code.replaced(*spots))


def _values(code: SourceCode, *names: str) -> list[ast.expr]:
    return [each.value for each in code.given(*names)]


def _initializers(code: SourceCode) -> Iterator[ast.AST]:
    """`jax.nn.initializers.zeros` and `jax.nn.initializers.normal(3.0)`, wherever they are given a name."""
    for node in ast.walk(code.tree):
        if isinstance(node, ast.Attribute) and code.part(node.value).endswith("initializers"):
            above = code.parent(node)
            whole = above if isinstance(above, ast.Call) and above.func is node else node
            outer = code.parent(whole)
            if isinstance(outer, ast.Assign) or (isinstance(outer, ast.Call) and outer.func is whole):
                yield whole


def _products(code: SourceCode) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Each draw of random numbers, with the factors around it."""
    for call in code.calls(*DRAWS):
        if not _is_draw(code, call) or _is_data(code, call):
            continue
        node: ast.AST = call
        while isinstance(above := code.parent(node), ast.BinOp) and isinstance(above.op, ast.Mult | ast.Div):
            if isinstance(above.op, ast.Div) and above.right is node:
                break
            node = above
        yield node, call


def _is_draw(code: SourceCode, call: ast.Call) -> bool:
    """`jax.random.normal(key, shape)`, and no draw of NumPy's."""
    if len(call.args) < 2 and not any(k.arg == "shape" for k in call.keywords):
        return False
    owner = call.func
    return (
        isinstance(owner, ast.Attribute)
        and code.part(owner.value).endswith("random")
        and root(owner) not in (code.imported_as("numpy"), "np", "numpy")
    )


def _is_data(code: SourceCode, call: ast.Call) -> bool:
    """Drawn in a function that is named for it, or outside of any for a name that weights do not have."""
    names: list[str] = []
    for above in code.around(call):
        if isinstance(above, ast.FunctionDef):
            return any(part in above.name.lower() for part in OF_DATA)
        if isinstance(above, ast.Assign):
            names += [
                each.id for target in above.targets for each in ast.walk(target) if isinstance(each, ast.Name)
            ]
    return not any(part in name.lower() for name in names for part in OF_WEIGHTS)


def _shape(call: ast.Call) -> ast.AST:
    named = next((k.value for k in call.keywords if k.arg == "shape"), None)
    return named or call.args[1 if called(call) in DRAWS else 0]


def _axes(call: ast.Call) -> int | None:
    if not call.args and not call.keywords:
        return None
    try:
        shape = _shape(call)
    except IndexError:
        return None
    if isinstance(shape, ast.Tuple):
        return len(shape.elts)
    if called(call) in DRAWS:  # a name may stand for any shape: what is drawn at random is seldom a bias
        return 2 if isinstance(shape, ast.Name | ast.Attribute) else None
    return 1 if isinstance(shape, ast.Name | ast.Constant | ast.Subscript | ast.Attribute) else None


def _key(code: SourceCode, call: ast.AST) -> str | None:
    """The name of the PRNG key in the function around."""
    for above in code.around(call):
        if isinstance(above, ast.FunctionDef):
            names = [each.arg for each in above.args.args]
            return next((name for name in names if name in ("key", "rng", "seed_key")), None)
    return None
