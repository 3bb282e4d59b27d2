"""Data files in place of the batches of a user's file: what each form of a loss receives."""

import numpy as np
import pytest

from gradscope.load.problem import Problem
from tests.load.conftest import load

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.arange(4.0, dtype=np.float32)

PARAMS = """
import numpy as np
params = {"w": np.ones(3, np.float32)}
"""
LOSSES = {
    "a tuple": "def loss_fn(params, batch):\n    x, y = batch\n    return ((x @ params['w'] - y) ** 2).sum()",
    "a dict": "def loss_fn(params, batch):\n    return ((batch['x'] @ params['w'] - batch['y']) ** 2).sum()",
    "attributes": "def loss_fn(params, batch):\n    return ((batch.x @ params['w'] - batch.y) ** 2).sum()",
    "parts by name": "def loss_fn(params, y, x):\n    return ((x @ params['w'] - y) ** 2).sum()",
    "parts by position": "def loss_fn(params, images, labels):\n"
    "    return ((images @ params['w'] - labels) ** 2).sum()",
    "parts and a key": "def loss_fn(params, x, y, key):\n    return ((x @ params['w'] - y) ** 2).sum()",
}


@pytest.fixture
def files(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    np.save(tmp_path / "x.npy", X)
    return tmp_path


def value(problem: Problem):
    batch = next(problem.batches())
    return float(problem.loss(problem.params, batch, problem.key())[0])


@pytest.mark.parametrize("form", LOSSES)
def test_every_form_of_a_loss_gets_the_data(form, files, write):
    path = write(LOSSES[form], header=PARAMS)
    expected = float(((X.sum(1) - Y) ** 2).sum())
    assert value(load(path, data=("d.npz",))) == pytest.approx(expected)
    assert value(load(path, data=("d.npz",), x=("x",), y=("y",))) == pytest.approx(expected)


def test_files_win_over_the_data_of_the_file_which_is_not_even_started(files, write):
    text = LOSSES["a tuple"] + "\ndef batches():\n    raise RuntimeError('started')\nbatch = (1, 2)\n"
    problem = load(write(text, header=PARAMS), data=("d.npz",), batch_size=2)
    assert [batch.x.shape for batch in problem.batches()] == [(2, 3), (2, 3)]
    assert "cut into batches of 2" in problem.notes[-1]


def test_files_win_over_the_batch_of_a_problem(files, write):
    text = (
        "import gradscope\n"
        + LOSSES["parts by name"]
        + "\ndef problem():\n"
        + "    batch = dict(x=np.ones((5, 3)), y=np.ones(5, np.float32))\n"
        + "    return gradscope.Problem(loss_fn, params, batch, notes=('kept',))\n"
    )
    path = write(text, header=PARAMS)
    assert any("float64" in note for note in load(path).notes)
    problem = load(path, data=("d.npz",), seed=3)
    assert next(problem.batches()).x.shape == (4, 3)
    assert problem.notes == ("kept",), "what was said of the batch that is not used is gone"
    assert problem.seed == 3


def test_a_loss_of_the_inputs_alone_gets_them_as_they_are(files, write):
    path = write("def loss_fn(params, images):\n    return (images @ params['w']).sum()", header=PARAMS)
    for given in ({"data": ("x.npy",)}, {"data": ("d.npz",), "x": ("x",)}):
        assert value(load(path, **given)) == X.sum()


def test_a_loss_with_other_parts_is_told_the_names(files, write, refused):
    path = write("def loss_fn(params, images, labels, weights):\n    return 0.0", header=PARAMS)
    error = refused(load, path, data=("d.npz",))
    assert "a tuple of 2 with the names 'x', 'y'" in error.why


def test_a_name_that_is_spelled_wrong_is_told_before_the_file_runs(files, write, refused):
    path = write("raise RuntimeError('ran')")
    assert refused(load, path, data=("d.npz",), x=("X1",)).slug == "no-such-column"
    assert refused(load, path, data=("dd.npz",)).slug == "no-such-file"
