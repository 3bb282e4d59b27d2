"""Files of an imagined user, and what every refusal has to look like."""

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import gradscope
from gradscope.errors import GradscopeError
from gradscope.load import target as targets
from gradscope.load.problem import Problem
from gradscope.records.options import LoadOptions

HEADER = """
import numpy as np
params = {"w": np.ones((3,), np.float32)}
batch = np.ones((4, 3), np.float32)
"""


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch, tmp_path):
    """Each test has its own search path, working directory and set of the user's modules."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def load(target: str, **options: Any) -> Problem:
    """`gradscope.load.target.load`, with the options written out."""
    return targets.load(target, LoadOptions(**options))


@pytest.fixture
def write(tmp_path):
    """Writes a file below the test's folder and returns its path as text."""

    def write(text, name="model.py", header=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + textwrap.dedent(text))
        return str(path)

    return write


@pytest.fixture
def given(write):
    """Loads a file that has `params` and `batch`, and the lines of the test below them."""
    return lambda text, **options: load(write(text, header=HEADER), **options)


@pytest.fixture
def refused():
    """Calls what must be refused, and checks what is true of every refusal."""

    def refused(function, *args, **kwargs):
        with pytest.raises(GradscopeError) as caught:
            function(*args, **kwargs)
        error = caught.value
        assert error.exit_code == 2
        assert error.what
        assert error.fix or error.slug == "error-in-your-code"
        assert error.slug
        assert str(Path(gradscope.__file__).parent) not in str(error) + error.details
        return error

    return refused
