"""Someone who puts the Python of a page, block by block, into a program of their own."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

from tests.pages.reader import MODEL, SICK
from tests.pages.reading import blocks

os.environ.setdefault("KERAS_BACKEND", "jax")  # which Keras reads when it is imported

OWN = (
    MODEL
    + """

params = init(jax.random.key(0))
batches = list(batches())
batch = x, y = rows(3, 256)
opt_state = optimizer.init(params)
new_loss_fn = loss_fn
"""
)
"""What is at hand where a page says `loss_fn`, `params` and `batch`; pages import gradscope themselves."""
IMPORTED = (
    MODEL
    + """

def one_batch():
    return rows(3, 32)
"""
)
KERAS = blocks("docs/frameworks.md", "python", "Keras")[0] + "\nx, y = batch\n"


class Program:
    """In a folder of its own; names are shared from the top of a page to its bottom."""

    def __init__(self, folder: Path, my_model: str = IMPORTED) -> None:
        self.folder = folder
        self.names = vars(types.ModuleType("page"))
        (folder / "model.py").write_text(SICK)
        (folder / "my_model.py").write_text(my_model)
        self._run(OWN, self.names)

    def runs(self, block: str) -> None:
        """What a page leaves open (`...`) is run aside, so that the reader's own stays; of two ways to record
        one has been taken; tests are for pytest."""
        for name in re.findall(r'(?:Recorder|keras_callback)\("(.+?)"', block):
            (self.folder / name).unlink(missing_ok=True)
        if re.search(r"^def test_", block, re.MULTILINE):
            self._tests(block)
            return
        if "model.fit(" in block:
            self._run(KERAS, self.names)
        block = re.sub(r"steps=\d{4,}", "steps=200", block)
        self._run(block, dict(self.names) if _leaves_open(block) else self.names)

    def _tests(self, block: str) -> None:
        """In a process of their own, as pytest is."""
        (self.folder / "test_page.py").write_text(OWN + block)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
        ended = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]

    def _run(self, text: str, names: dict[str, Any]) -> None:
        exec(compile(text, str(self.folder / "page.py"), "exec"), names)


def _leaves_open(block: str) -> bool:
    return any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(ast.parse(block)))
