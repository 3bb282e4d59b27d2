"""The lines around those that findings name."""

from __future__ import annotations

import linecache
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.records import Source
from gradscope.runs.excerpts import excerpts
from tests.report.canned import broken

TEXT = "import jax\n\n\ndef loss(p, b):\n    h = b @ p\n    return h.sum()\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text(TEXT, encoding="utf-8")
    linecache.checkcache(str(path))
    return str(path)


def test_two_lines_on_each_side_are_kept_once(file: str) -> None:
    finding = replace(broken().findings[0], source=Source(file, 5, "h = b @ p"))
    (found,) = excerpts([finding, finding])
    assert (found.file, found.first) == (file, 3)
    assert found.lines == ("", "def loss(p, b):", "    h = b @ p", "    return h.sum()")


@pytest.mark.parametrize(("line", "text"), [(5, "h = b - p"), (99, "h = b @ p"), (5, "")])
def test_a_file_that_has_changed_since_gives_none(file: str, line: int, text: str) -> None:
    assert excerpts([replace(broken().findings[0], source=Source(file, line, text))]) == ()


def test_a_file_that_cannot_be_read_gives_none() -> None:
    assert excerpts([replace(broken().findings[0], source=Source("nowhere.py", 5, "x = 1"))]) == ()
