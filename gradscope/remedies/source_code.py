"""A file of the user as text and as a tree, and texts in which some of its expressions are replaced."""

from __future__ import annotations

import ast
import difflib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LIBRARIES = ("nn", "nnx", "jnp", "numpy")
USUAL = {"jax.numpy": "jnp", "jax": "jax"}
MARK = "\ufeff"
"""The byte order mark, which some editors of Windows begin a file with."""
Spot = tuple[ast.AST, str]
"""A node and the text that takes its place."""


@dataclass(frozen=True)
class Remedy:
    """One edit, and what it may be good for."""

    what: str
    """An imperative: `multiply the learning rate by 10`."""
    rules: tuple[str, ...]
    """Whose findings it may cure."""
    path: str
    text: str
    """The whole file after the edit."""
    changes_loss: bool = False
    """The loss itself becomes another one, so that its value cannot be held against the one before."""
    changes_data: bool = False
    """The batches are meant to become others; those of any other edit have to stay as they are."""


@dataclass
class SourceCode:
    """Raises `SyntaxError` or `OSError` where there is none."""

    path: str
    text: str
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        bare = self.text.removeprefix(MARK)
        self.tree = ast.parse(bare)
        self._mark = self.text[: len(self.text) - len(bare)]
        self._lines = bare.encode().splitlines(keepends=True)
        self._end = "\r\n" if any(line.endswith(b"\r\n") for line in self._lines) else "\n"
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self._parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @classmethod
    def read(cls, path: str) -> SourceCode:
        """With the ends of its lines as they are."""
        return cls(path, Path(path).read_bytes().decode())

    def part(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return b"".join(self._lines)[start:end].decode()

    def indent(self, node: ast.stmt) -> str:
        """Of the line that a statement begins: spaces or tabs."""
        line = self._lines[node.lineno - 1].decode()
        return line[: len(line) - len(line.lstrip())]

    def begins_line(self, node: ast.stmt) -> bool:
        """Whether nothing stands before it on its line, as `def f(x): return x` has it."""
        return len(self.indent(node).encode()) == node.col_offset

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(node)

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """What the node stands in, from the inside out."""
        above = self.parent(node)
        while above is not None:
            yield above
            above = self.parent(above)

    def calls(self, *names: str, line: int | None = None) -> list[ast.Call]:
        """Of functions of these names, whatever module they are taken from, in the order of the text."""
        found = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Call) and called(node) in names and (line is None or on(node, line))
        ]
        return sorted(found, key=lambda node: (node.lineno, node.col_offset))

    def named(self, *names: str) -> list[ast.expr]:
        """Functions of a library's `nn` or of `numpy` that are handed on by name and not called there:
        `activation = jax.nn.relu`, `MLP(act=nnx.relu)`."""
        found = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute)
            and node.attr in names
            and self.part(node.value).rpartition(".")[2] in LIBRARIES
            and not (isinstance(parent := self.parent(node), ast.Call) and parent.func is node)
        ]
        return sorted(found, key=lambda node: (node.lineno, node.col_offset))

    def given(self, *names: str, within: ast.AST | None = None) -> list[ast.keyword]:
        """Arguments that are given by one of these names, in the order of the text."""
        nodes = ast.walk(self.tree if within is None else within)
        found = [node for node in nodes if isinstance(node, ast.keyword) and node.arg in names]
        return sorted(found, key=lambda node: (node.lineno, node.col_offset))

    def replaced(self, *spots: Spot) -> str:
        """The text with each node's own text exchanged; none of the nodes lies within another."""
        found = b"".join(self._lines)
        once = {self._span(node): text for node, text in spots}
        for (start, end), text in sorted(once.items(), reverse=True):
            found = found[:start] + text.encode() + found[end:]
        return self._with_imports(found.decode())

    def inserted(self, line: int, text: str) -> str:
        """The text with `text` as lines of their own before the line of that number."""
        before, after = b"".join(self._lines[: line - 1]).decode(), b"".join(self._lines[line - 1 :]).decode()
        if before and not before.endswith(("\n", "\r")):
            before += self._end
        new = text.rstrip().replace("\n", self._end)
        return self._with_imports(f"{before}{new}{self._end}{after}")

    def name_of(self, module: str) -> str:
        """What an edit may call `jax` and `jax.numpy`: where the file does not import it, the edit does."""
        return self.imported_as(module) or USUAL[module]

    def _with_imports(self, text: str) -> str:
        """Imports that an edit needs come before the first one of the file that may stand elsewhere."""
        imports = (n for n in self.tree.body if isinstance(n, ast.Import | ast.ImportFrom))
        first = next((n for n in imports if getattr(n, "module", None) != "__future__"), None)
        try:
            used = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
        except SyntaxError:  # whoever loads it will say so
            return self._mark + text
        lines = lines_of(text)
        for module, name in USUAL.items():
            if first is not None and name in used and not self._binds(name):
                line = f"import {module}" if module == name else f"import {module} as {name}"
                lines.insert(first.lineno - 1, line + self._end)
        return self._mark + "".join(lines)

    def _binds(self, name: str) -> bool:
        """Whether the file uses the name, for whatever it is there."""
        uses = (n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name))
        return name in uses or any(self.imported_as(module) == name for module in USUAL)

    def imported_as(self, module: str) -> str | None:
        """What the file calls a module that it imports as a whole: `jnp` for `jax.numpy`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name == module and (alias.asname or "." not in module):
                        return alias.asname or module
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                for alias in node.names:
                    if f"{node.module}.{alias.name}" == module:
                        return alias.asname or alias.name
        return None

    def function(self, name: str) -> ast.FunctionDef | None:
        found = (node for node in self.tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
        return next(found, None)

    def constant(self, node: ast.AST) -> ast.expr | None:
        """The number that a name stands for, where the file gives it one at its top level, and only once."""
        values = [
            each.value
            for each in self.tree.body
            if isinstance(node, ast.Name) and isinstance(each, ast.Assign) and node.id in assigned(each)
        ]
        return values[0] if len(values) == 1 and number(values[0]) is not None else None

    def uses(self, node: ast.AST) -> int:
        """How often the file reads a name."""
        names = (n for n in ast.walk(self.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
        return sum(isinstance(node, ast.Name) and each.id == node.id for each in names)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        start = self._starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]


def called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    return name_of(node.func)


def name_of(node: ast.expr) -> str:
    """The last part of a name; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def root(node: ast.AST) -> str | None:
    """The name that an expression begins with: `optax` of `optax.inject_hyperparams(optax.adam)(0.1)`."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else None


def assigned(node: ast.AST | None) -> list[str]:
    """The names that a statement assigns its value to, if it is an assignment."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def on(node: ast.AST, line: int) -> bool:
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    return bool(first <= line <= last)


def number(node: ast.AST | None) -> float | None:
    """The value of a numeric literal."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return None if isinstance(node.value, bool) else float(node.value)
    return None


def bracketed(text: str, node: ast.AST) -> str:
    """For use as an operand: in brackets unless it is a name, a call or a subscript, on one line."""
    atoms = (ast.Name, ast.Call, ast.Subscript, ast.Attribute, ast.Constant)
    return text if isinstance(node, atoms) and "\n" not in text else f"({text})"


def term(text: str, node: ast.AST) -> str:
    """For use beside a plus: in brackets where what it is made of binds less than that."""
    binds = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.MatMult, ast.Pow, ast.Mod, ast.FloorDiv)
    stays = isinstance(node, ast.BinOp) and isinstance(node.op, binds)
    return text if stays else bracketed(text, node)


def lines_of(text: str) -> list[str]:
    """With their ends; at nothing but line feeds, as diffs have it."""
    return io.StringIO(text, newline="\n").readlines()


UNENDED = "\\ No newline at end of file\n"


def diff(path: str, before: str, after: str) -> str:
    """Unified, as `git apply` and `patch -p1` take it."""
    ended = f"{path}\t" if " " in path else path  # where a name has spaces, only a tab ends it for patch
    lines = difflib.unified_diff(lines_of(before), lines_of(after), f"a/{ended}", f"b/{ended}")
    return "".join(line if line.endswith("\n") else f"{line}\n{UNENDED}" for line in lines)


def patched(text: str, patch: str) -> str:
    """A text after a unified diff that was made of it; raises `ValueError` where it has changed since."""
    before, after, place = lines_of(text), list[str](), 0
    last = ""
    for line in lines_of(patch)[2:]:
        if line.startswith("@@"):
            start = int(line.split()[1].lstrip("-").partition(",")[0]) - 1
            after += before[place:start]
            place = start
        elif line.startswith(("-", " ")):
            if place >= len(before) or before[place].removesuffix("\n") != line[1:].removesuffix("\n"):
                raise ValueError("the file has changed")
            after += before[place : place + 1] if line.startswith(" ") else []
            place += 1
        elif line.startswith("+"):
            after.append(line[1:])
        elif line == UNENDED and last.startswith("+"):
            after[-1] = after[-1].removesuffix("\n")
        last = line
    return "".join(after) + "".join(before[place:])
