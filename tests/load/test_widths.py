"""A network is made at the width that is asked for, or the error shows the line to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradscope.errors import GradscopeError
from gradscope.load.target import load
from gradscope.records.options import LoadOptions

LOSS = """
import numpy as np
import jax.numpy as jnp

batch = np.ones((2, 3), np.float32)

def loss_fn(params, batch):
    return jnp.mean((batch @ params["w"]) ** 2)
"""


def at(tmp_path: Path, code: str, width: int | None = 5) -> tuple[int, ...]:
    file = tmp_path / "net.py"
    file.write_text(LOSS + code, encoding="utf-8")
    problem = load(str(file), LoadOptions(width=width))
    assert np.shape(problem.reseeded(3).params["w"]) == np.shape(problem.params["w"])
    return np.shape(problem.params["w"])


@pytest.mark.parametrize(
    "code",
    [
        "def init(key, width=64):\n    return {'w': jnp.ones((3, width))}\n",
        "def init(key, width):\n    return {'w': jnp.ones((3, width))}\n",
        "def init(width):\n    return {'w': jnp.ones((3, width))}\n",
        "def model(width):\n    return {'w': jnp.ones((3, width))}\n",
    ],
)
def test_what_makes_the_network_gets_the_width(tmp_path: Path, code: str) -> None:
    assert at(tmp_path, code) == (3, 5)


def test_a_depth_is_given_likewise(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        LOSS + "def init(key, depth=1):\n    return {'w': jnp.ones((3, 2)), 'b': [1.0] * depth}\n"
    )
    assert len(load(str(file), LoadOptions(depth=4)).params["b"]) == 4
    file.write_text(LOSS + "def init(key):\n    return {'w': jnp.ones((3, 2))}\n")
    with pytest.raises(GradscopeError) as caught:
        load(str(file), LoadOptions(depth=4))
    assert caught.value.slug == "no-width"
    assert "`def init(key, depth=4):`" in caught.value.fix


def test_a_default_serves_all_other_commands(tmp_path: Path) -> None:
    code = "def init(key, width=7):\n    return {'w': jnp.ones((3, width))}\n"
    assert at(tmp_path, code, None) == (3, 7)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("def init(key):\n    return {'w': jnp.ones((3, 4))}\n", "`def init(key, width=64):`"),
        ("def model():\n    return {'w': jnp.ones((3, 4))}\n", "`def model(width=64):`"),
        ("params = {'w': jnp.ones((3, 4))}\n", "`def init(key, width=64): return params`"),
    ],
)
def test_a_file_without_a_width_is_told_the_line_to_write(tmp_path: Path, code: str, line: str) -> None:
    with pytest.raises(GradscopeError) as caught:
        at(tmp_path, code)
    assert caught.value.slug == "no-width"
    assert line in caught.value.fix
