"""The zoo of `tests/zoo/`: programs as users write them, sick or healthy, and what is known of each."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "tests/zoo"


@dataclass(frozen=True)
class Program:
    """A file of the zoo, with its `EXPECTED`."""

    file: Path
    fault: str | None
    """The kind of fault, in the words of those who published it; `None`: healthy."""
    source: str
    like: str
    """Of a healthy one: the fault it could be taken for."""
    cause: tuple[str, ...]
    """Rules that state this cause; none where there is no such rule yet."""
    symptom: tuple[str, ...]
    """Rules that state a true consequence of it."""
    layer: tuple[str, ...]
    """Parts of the names of the layers that the cause may be stated of; none: of the loss, or of all."""
    line: str
    """A part of the line that it stands on; empty where it has no one line."""
    twin: str | None
    """The name of the healthy program that differs from a sick one in the fault alone."""
    held_out: bool
    """No limit may be set by it."""

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def target(self) -> str:
        return self.file.relative_to(ROOT).as_posix()


def programs() -> list[Program]:
    return [read(file) for folder in ("sick", "healthy") for file in sorted((ZOO / folder).glob("*.py"))]


def read(file: Path) -> Program:
    """Without running it."""
    expected = _expected(file)
    return Program(
        file=file,
        fault=expected["fault"],
        source=expected.get("source", ""),
        like=expected.get("like", ""),
        cause=tuple(expected.get("cause", ())),
        symptom=tuple(expected.get("symptom", ())),
        layer=tuple(expected.get("layer", ())),
        line=expected.get("line", ""),
        twin=expected.get("twin"),
        held_out=file.stem in held_out(),
    )


@cache
def held_out() -> frozenset[str]:
    return frozenset((ZOO / "held_out.txt").read_text(encoding="utf-8").split())


def _expected(file: Path) -> dict[str, Any]:
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "EXPECTED":
            return dict(ast.literal_eval(statement.value))
    raise ValueError(f"{file} has no EXPECTED")
