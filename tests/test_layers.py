"""The dependency arrows, as a test. Moving one is a decision: change this table in the same commit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "gradscope"
LONGEST = 300

DATA = {"errors", "records", "encoding", "options"}
MAY_IMPORT = {
    "errors": set(),
    "records": {"errors"},
    "options": set(),
    "encoding": set(),
    "recording": DATA,
    "gate": DATA | {"rules"},
    "config": DATA | {"rules", "gate"},
    "load": DATA,
    "trace": DATA | {"load"},
    "measure": DATA | {"load", "trace"},
    "optimizers": DATA | {"load", "trace", "measure"},
    "rules": DATA,
    "suites": DATA | {"recording"},
    "report": DATA | {"recording", "suites", "rules"},
    "changes": DATA,
    "schema": DATA | {"recording"},
    "stability": DATA | {"rules"},
    "baseline": DATA | {"recording"},
    "against": DATA | {"rules", "stability", "baseline"},
    "compilation_cache": set(),
    "pipeline": DATA
    | {"compilation_cache"}
    | {"load", "trace", "measure", "rules", "gate", "recording", "config"}
    | {"stability", "baseline", "against"},
    "asserting": DATA | {"gate", "pipeline", "report", "rules"} | {"load"},
    "pytest_plugin": DATA | {"pipeline", "verifying", "asserting", "pytest_targets"},
    "pytest_targets": DATA | {"config", "pipeline", "running", "asserting", "report"},
    "running": DATA | {"recording", "suites", "compilation_cache", "pipeline", "load"},
    "comparing": DATA | {"load", "optimizers", "pipeline"},
    "verifying": DATA | {"load", "measure", "rules", "pipeline"},
    "cli": DATA
    | {"pipeline", "comparing", "verifying", "report", "rules", "gate", "recording", "suites"}
    | {"baseline", "against"}
    | {"schema", "config", "changes", "running"},
    "__init__": DATA | {"load", "pipeline", "comparing", "verifying", "asserting"},
    "__main__": {"cli"},
}
LATE = {"records": {"report"}}
"""Allowed inside a function: a report that is printed, or stands last in a notebook's cell, shows itself."""
ONLY_IN = {
    "typer": ("cli/",),
    "click": ("cli/",),
    "rich": ("cli/", "report/"),
    "pytest": ("pytest_plugin.py", "pytest_targets.py"),
    "optax": ("load/", "measure/", "optimizers/"),
    "flax": ("load/frameworks/",),
    "equinox": ("load/frameworks/",),
    "haiku": ("load/frameworks/",),
    "keras": ("load/frameworks/",),
    "numpy": ("load/", "trace/", "measure/", "optimizers/"),
    "jax": ("load/", "trace/", "measure/", "optimizers/", "pipeline.py (late)"),
}
INTERNALS = "trace/jax_compat/"

Import = tuple[str, bool]
"""The full name, and whether it is imported late: inside a function."""


def imports(tree: ast.AST, late: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((f"{prefix}.{alias.name}", late) for alias in node.names)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node)
            yield from imports(node, late or inside)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def wrong_import(where: str, name: str, late: bool) -> bool:
    layer = where.removesuffix(".py").split("/")[0]
    top, _, rest = name.partition(".")
    if name.startswith(".") or (name.startswith("jax._src") and not where.startswith(INTERNALS)):
        return True
    if top == "gradscope":
        target = rest.split(".")[0]
        allowed_late = LATE.get(layer, set()) if late else set()
        return target != "__version__" and target not in MAY_IMPORT[layer] | {layer} | allowed_late
    allowed = ONLY_IN.get(top, ("",))
    if late:
        allowed += tuple(place.removesuffix(" (late)") for place in allowed)
    return not where.startswith(allowed)


def reads_equation_params(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "params"
        and isinstance(node.value, ast.Name)
        and node.value.id in {"eqn", "equation"}
        for node in ast.walk(tree)
    )


def violations(src: Path) -> list[str]:
    found = []
    for file in sorted(src.rglob("*.py")):
        where = file.relative_to(src).as_posix()
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        found += [
            f"{where} imports {name}" for name, late in imports(tree) if wrong_import(where, name, late)
        ]
        if text.count("\n") > LONGEST:
            found.append(f"{where} has more than {LONGEST} lines")
        if not where.startswith(INTERNALS) and reads_equation_params(tree):
            found.append(f"{where} reads the parameters of an equation")
    return found


def test_arrows_point_one_way() -> None:
    wrong = violations(SRC)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("where", "code", "complaint"),
    [
        ("rules/flow/new.py", "import jax.numpy as jnp", "imports jax.numpy"),
        ("rules/flow/new.py", "def f():\n    import jax", "imports jax"),
        ("report/html.py", "from gradscope.trace import sites", "imports gradscope.trace.sites"),
        ("trace/new.py", "from gradscope.measure.flow import x", "imports gradscope.measure.flow.x"),
        ("load/new.py", "import gradscope.trace", "imports gradscope.trace"),
        ("load/new.py", "def f():\n    from flax import nnx", "imports flax.nnx"),
        ("measure/new.py", "from gradscope import pipeline", "imports gradscope.pipeline"),
        ("pipeline.py", "import jax", "imports jax"),
        ("records/new.py", "from gradscope.report import display", "imports gradscope.report.display"),
        ("gate.py", "import rich.table", "imports rich.table"),
        ("pipeline.py", "def f():\n    from typer import Typer", "imports typer.Typer"),
        ("trace/new.py", "from jax._src import core", "imports jax._src.core"),
        ("trace/new.py", "from .jax_compat import x", "imports .jax_compat.x"),
        ("trace/new.py", "def f(eqn):\n    return eqn.params", "reads the parameters of an equation"),
        ("load/new.py", "x = 1\n" * (LONGEST + 1), f"has more than {LONGEST} lines"),
    ],
)
def test_the_guard_can_fail(tmp_path: Path, where: str, code: str, complaint: str) -> None:
    file = tmp_path / where
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code, encoding="utf-8")
    assert violations(tmp_path) == [f"{where} {complaint}"]


def test_a_late_jax_import_is_allowed_where_the_table_says_so(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("def check():\n    import jax\n", encoding="utf-8")
    (tmp_path / "trace/jax_compat").mkdir(parents=True)
    (tmp_path / "trace/jax_compat/new.py").write_text(
        "from jax._src import core\ndef f(eqn):\n    return eqn.params\n", encoding="utf-8"
    )
    assert violations(tmp_path) == []
