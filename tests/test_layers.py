"""The dependency arrows, as a test. Moving one is a decision: change this table in the same commit."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "gradscope"
LONGEST = 300

DATA = {"errors", "records"}
MAY_IMPORT = {
    "errors": set(),
    "display": set(),
    "xla": set(),
    "language": {"rules"},
    "records": {"errors", "display"},
    "peers": DATA,
    "serialization": DATA,
    "rules": DATA,
    "changes": DATA,
    "recording": DATA | {"serialization"},
    "remedies": DATA,
    "gate": DATA | {"rules", "serialization"},
    "config": DATA | {"rules", "gate", "language"},
    "report": DATA | {"rules", "serialization", "language"},
    "load": DATA | {"peers"},
    "trace": DATA | {"load", "peers", "xla"},
    "blocks": DATA | {"trace"},
    "measure": DATA | {"load", "trace", "blocks", "peers"},
    "footprint": DATA | {"load", "trace", "blocks"},
    "workload": DATA | {"load", "trace", "blocks", "footprint"},
    "landscape": DATA | {"load", "trace", "blocks"},
    "nonfinite": DATA | {"load", "trace", "measure", "peers"},
    "verification": DATA | {"load", "trace", "blocks"},
    "training": DATA | {"load", "trace", "blocks", "measure", "recording", "peers"},
    "optimizers": DATA | {"load", "trace", "measure"},
    "runs": DATA
    | {
        "load",
        "trace",
        "measure",
        "footprint",
        "workload",
        "landscape",
        "nonfinite",
        "verification",
        "training",
        "optimizers",
    }
    | {"remedies", "rules", "gate", "serialization", "recording", "peers"},
    "processes": DATA | {"serialization", "config", "gate", "load", "runs", "peers", "xla"},
    "integrations": DATA
    | {"config", "changes", "serialization", "gate", "load", "recording", "report", "rules"}
    | {"runs", "processes"},
    "cli": DATA
    | {
        "config",
        "changes",
        "gate",
        "language",
        "recording",
        "report",
        "rules",
        "runs",
        "processes",
        "serialization",
    },
    "templates": set(),
    "__init__": DATA | {"display", "load", "runs", "training", "integrations"},
    "__main__": {"cli"},
}
REPORTS = {
    "shared": set(),
    "terminal": {"shared"},
    "markdown": {"shared"},
    "html": {"shared"},
    "ci": {"shared"},
}
"""The rooms of `report/`: none knows another but `shared`; the files beside them choose between the rooms."""
NUMERIC = (
    "load/", "peers/", "trace/", "blocks/", "measure/", "footprint/", "workload/", "landscape/", "nonfinite/",
    "verification/", "training/", "optimizers/", "runs/preparing.py", "runs/measuring.py", "runs/seeds.py",
)  # fmt: skip
ONLY_IN = {
    "typer": ("cli/",),
    "click": ("cli/",),
    "rich": ("cli/", "report/"),
    "pytest": ("integrations/pytest/",),
    "mcp": ("cli/mcp_tools.py",),
    "babel": ("language/catalogues.py",),
    "optax": ("load/", "measure/", "training/", "optimizers/"),
    "flax": ("load/model/frameworks/",),
    "equinox": ("load/model/frameworks/",),
    "haiku": ("load/model/frameworks/",),
    "keras": ("load/model/frameworks/", "training/keras_callback.py"),
    "numpy": NUMERIC,
    "jax": (*NUMERIC, "runs/ (late)"),
}
INTERNALS = ("trace/jaxprs/", "peers/store.py", "peers/reading.py")

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
        if target == layer == "report" and another_room(where, rest):
            return True
        return target != "__version__" and target not in MAY_IMPORT[layer] | {layer}
    allowed = ONLY_IN.get(top, ("",))
    if late:
        allowed += tuple(place.removesuffix(" (late)") for place in allowed)
    return not where.startswith(allowed)


def another_room(where: str, name: str) -> bool:
    """Whether a file of one room of `report/` imports what is not its own and not shared."""
    room, target = where.split("/")[1], name.split(".")[1]
    return room in REPORTS and target not in REPORTS[room] | {room}


def reads_equation_params(tree: ast.AST) -> bool:
    """In a file that handles jaxprs every `.params` is an equation's, except those of a problem."""
    if not any(name.startswith(("jax.extend.core", "gradscope.trace.jaxprs")) for name, _ in imports(tree)):
        return False
    return any(
        isinstance(node, ast.Attribute) and node.attr == "params" and not _is_problem(node.value)
        for node in ast.walk(tree)
    )


def _is_problem(owner: ast.expr) -> bool:
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return name.lstrip("_") == "problem"


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


def import_cycle(src: Path) -> list[str]:
    """Files that import each other in a circle when they are loaded, or none; late imports are left out."""
    names = {module_name(file, src): file for file in src.rglob("*.py")}
    graph = {
        name: {known for target, late in imports(ast.parse(file.read_text(encoding="utf-8"))) if not late
               for known in known_modules(target, names) if known != name}
        for name, file in names.items()
    }  # fmt: skip
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def module_name(file: Path, src: Path) -> str:
    return ".".join((src.name, *file.relative_to(src).with_suffix("").parts)).removesuffix(".__init__")


def known_modules(target: str, names: Collection[str]) -> list[str]:
    """The module that an import names, or the one that holds the name that it takes."""
    return [target] if target in names else [name for name in (target.rpartition(".")[0],) if name in names]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert import_cycle(SRC) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(f"from {tmp_path.name} import two\n", encoding="utf-8")
    (tmp_path / "two.py").write_text(f"from {tmp_path.name}.one import x\n", encoding="utf-8")
    assert import_cycle(tmp_path)


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
        ("measure/new.py", "from gradscope.runs import check", "imports gradscope.runs.check"),
        ("runs/check.py", "import jax", "imports jax"),
        ("records/new.py", "from gradscope.report import display", "imports gradscope.report.display"),
        (
            "records/new.py",
            "def f():\n    from gradscope.report import display",
            "imports gradscope.report.display",
        ),
        (
            "report/html/new.py",
            "from gradscope.report.terminal import lines",
            "imports gradscope.report.terminal.lines",
        ),
        (
            "report/shared/new.py",
            "from gradscope.report.html.page import x",
            "imports gradscope.report.html.page.x",
        ),
        ("report/ci/new.py", "from gradscope.report import reporter", "imports gradscope.report.reporter"),
        ("gate/new.py", "import rich.table", "imports rich.table"),
        ("runs/new.py", "def f():\n    from typer import Typer", "imports typer.Typer"),
        ("trace/new.py", "from jax._src import core", "imports jax._src.core"),
        ("trace/new.py", "from .jaxprs import x", "imports .jaxprs.x"),
        (
            "trace/new.py",
            "from jax.extend.core import JaxprEqn\ndef f(e):\n    return e.params",
            "reads the parameters of an equation",
        ),
        ("load/new.py", "x = 1\n" * (LONGEST + 1), f"has more than {LONGEST} lines"),
    ],
)
def test_the_guard_can_fail(tmp_path: Path, where: str, code: str, complaint: str) -> None:
    file = tmp_path / where
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code, encoding="utf-8")
    assert violations(tmp_path) == [f"{where} {complaint}"]


def test_a_late_jax_import_is_allowed_where_the_table_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/check.py").write_text("def check():\n    import jax\n", encoding="utf-8")
    (tmp_path / "trace/jaxprs").mkdir(parents=True)
    (tmp_path / "trace/jaxprs/new.py").write_text(
        "from jax._src import core\ndef f(eqn):\n    return eqn.params\n", encoding="utf-8"
    )
    assert violations(tmp_path) == []


def test_a_class_name_means_one_thing() -> None:
    names = [
        node.name
        for file in SRC.rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted(name for name, count in Counter(names).items() if count > 1) == []
