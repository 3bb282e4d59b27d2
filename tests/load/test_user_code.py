"""The user's exceptions: their type, their message, their lines, and nothing of ours."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import gradscope
from gradscope.errors import GradscopeError
from gradscope.load.usercode.user_code import as_gradscope_error, is_library, user_code
from tests.load.conftest import HEADER, load


def tracing(problem):
    with user_code("tracing loss_fn"):
        jax.make_jaxpr(problem.loss)(problem.params, next(problem.batches()), problem.key())


def test_an_exception_shows_its_type_message_and_the_users_lines(write, refused):
    path = write("def inner():\n    raise ValueError('no weights at ~/w')\n\ninner()\n")
    error = refused(load, path)
    assert error.what == "While running model.py, your code raised ValueError: no weights at ~/w"
    assert error.details.splitlines() == [
        "  model.py:4 in <module>",
        "    inner()",
        "  model.py:2 in inner",
        "    raise ValueError('no weights at ~/w')",
    ]


def test_frames_of_libraries_are_left_out(write, refused):
    path = write("import json, numpy as np\nnp.reshape(np.ones(3), (2, 2))\n")
    error = refused(load, path)
    assert "cannot reshape" in error.what
    assert [line for line in error.details.splitlines() if ":" in line] == ["  model.py:2 in <module>"]


def test_an_exception_under_tracing_names_the_line_of_the_loss(given, refused):
    problem = given("""
        def layer(w, x):
            return x @ np.ones((7, 2), np.float32) @ w

        def loss_fn(params, batch):
            return layer(params["w"], batch).sum()
    """)
    error = refused(tracing, problem)
    assert "While tracing loss_fn, your code raised" in error.what
    assert "model.py:10 in loss_fn" in error.details
    assert "return x @ np.ones((7, 2), np.float32) @ w" in error.details


def test_branching_on_a_traced_value_gets_a_remedy(given, refused):
    problem = given("""
        def loss_fn(params, batch):
            if params["w"].sum() > 0:
                return 1.0
            return 0.0
    """)
    error = refused(tracing, problem)
    assert "TracerBoolConversionError" in error.what
    assert "jnp.where" in error.fix
    assert "model.py:7 in loss_fn" in error.details


def test_numpy_on_a_traced_array_gets_a_remedy(given, refused):
    error = refused(tracing, given("def loss_fn(params, batch):\n    return np.sum(np.array(params['w']))"))
    assert "jax.numpy" in error.fix


def test_a_backward_rule_that_fails_shows_its_own_line(refused):
    @jax.custom_vjp
    def identity(x):
        return x

    def backward(_, cotangent):
        raise RuntimeError("backward is not written")

    identity.defvjp(lambda x: (x, x), backward)

    def differentiate():
        with user_code("differentiating loss_fn"):
            jax.grad(lambda x: identity(jnp.sin(x)))(1.0)

    assert 'raise RuntimeError("backward is not written")' in refused(differentiate).details


def test_a_cause_given_with_from_is_shown(write, refused):
    path = write("""
        try:
            {}["missing"]
        except KeyError as error:
            raise RuntimeError("bad configuration") from error
    """)
    error = refused(load, path)
    assert "RuntimeError: bad configuration" in error.what
    assert "caused by KeyError: 'missing'" in error.details


def test_notes_on_an_exception_are_shown_and_those_of_jax_are_not(write, refused):
    path = write("""
        error = ValueError("x")
        error.add_note("while reading row 7")
        raise error
    """)
    assert "while reading row 7" in refused(load, path).details
    path = write("import jax\njax.jit(lambda x: 1 / 0)(1.0)\n")
    assert "internal frames" not in refused(load, path).details


def test_sys_exit_says_what_the_file_should_do_instead(write, refused):
    error = refused(load, write("import sys\nsys.exit('usage: train DATA')\n"))
    assert error.what == "While running model.py, your code called sys.exit('usage: train DATA')."
    assert '__name__ == "__main__"' in error.fix
    assert "model.py:2 in <module>" in error.details


def test_ctrl_c_is_not_the_users_error():
    with pytest.raises(KeyboardInterrupt), user_code("running"):
        raise KeyboardInterrupt


def test_an_error_of_gradscope_passes_through_unchanged():
    ours = GradscopeError("ours")
    with pytest.raises(GradscopeError) as caught, user_code("running"):
        raise ours
    assert caught.value is ours


def test_deep_recursion_is_shown_folded(write, refused):
    error = refused(load, write("def f():\n    return f()\n\nf()\n"))
    assert "RecursionError" in error.what
    assert "more frames" in error.details
    assert len(error.details.splitlines()) < 40


def test_what_user_code_prints_goes_to_stderr(write, capsys):
    load(write(HEADER + "print('hello')\ndef loss_fn(params, batch): return 0.0\n"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")


def test_an_error_without_a_line_of_the_user_says_so():
    space = {}
    exec(compile("def fail(): raise KeyError('x')", "<frozen library>", "exec"), space)
    try:
        space["fail"]()
    except KeyError as raised:
        raised.__traceback__ = raised.__traceback__.tb_next
        error = as_gradscope_error(raised, "reading params")
    assert error.what == "While reading params, your code raised KeyError: 'x'"
    assert "a library raised it" in error.why
    assert error.details == ""


def test_a_module_that_is_missing_names_what_to_install(write, refused):
    error = refused(load, write("import tensorflow_of_mars.keras\n"))
    assert "ModuleNotFoundError" in error.what
    assert "Install `tensorflow_of_mars`" in error.fix
    assert "model.py:1" in error.details


@pytest.mark.parametrize("text", ["jnp.ones((4, 3)) @ jnp.ones(5)", "jnp.ones((4, 3)) + jnp.ones(5)"])
def test_shapes_that_do_not_fit_are_called_so(text, given, refused):
    assert "do not fit together" in refused(given, f"import jax.numpy as jnp\nx = {text}").fix


def test_no_file_of_ours_is_taken_for_the_users() -> None:
    files = [str(file) for file in Path(gradscope.__file__).parent.rglob("*.py")]
    assert len(files) > 100
    assert [file for file in files if not is_library(file)] == []
