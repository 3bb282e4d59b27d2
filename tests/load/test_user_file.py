"""Files run as Python would run them, whatever they do."""

import sys
import threading

import pytest

from tests.load.conftest import HEADER, load

LOSS = "def loss_fn(params, batch):\n    return 0.0\n"


def test_a_missing_file_names_the_nearest_one(write, refused, tmp_path):
    write("", name="transformer.py")
    error = refused(load, str(tmp_path / "transfomer.py"))
    assert "transfomer.py" in error.what
    assert error.fix == "Did you mean `transformer.py`?"


def test_a_missing_folder_names_the_part_that_exists(refused, tmp_path):
    error = refused(load, str(tmp_path / "models" / "a.py"))
    assert "models does not exist either" in error.why


def test_a_folder_lists_the_files_that_define_a_problem(write, refused, tmp_path):
    write(LOSS, name="net.py")
    write("x = 1", name="other.py")
    error = refused(load, str(tmp_path))
    assert error.details.strip() == str(tmp_path / "net.py")


def test_a_notebook_is_refused_with_the_way_to_convert_it(write, refused):
    assert "nbconvert" in refused(load, write("{}", name="train.ipynb")).fix


@pytest.mark.parametrize("target", ["", ":name", "model.py:a b", "no such thing", "model.py:"])
def test_what_is_no_target_is_refused(target, write, refused):
    write(LOSS)
    assert refused(load, target).what


def test_a_syntax_error_is_shown_with_its_line_and_column(write, refused):
    error = refused(load, write("x = 1\ndef f(:\n    pass\n"))
    assert error.what.startswith("model.py:2 is not valid Python")
    assert error.details.splitlines() == ["  model.py:2", "    def f(:", "          ^"]


def test_bytes_that_are_no_source_are_refused(refused, tmp_path):
    (tmp_path / "model.py").write_bytes(b"x = 1\x00\n")
    assert "is not" in refused(load, str(tmp_path / "model.py")).what
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    assert "latin.py" in refused(load, str(tmp_path / "latin.py")).what


def test_a_file_named_like_a_library_is_refused(write, refused):
    assert "Rename" in refused(load, write(LOSS, name="jax.py")).fix


def test_a_file_named_like_a_standard_module_leaves_that_module_alone(write):
    import types

    load(write(LOSS, name="types.py", header=HEADER))
    assert sys.modules["types"] is types


def test_a_package_beside_a_file_of_its_name_is_the_one_that_is_imported(write):
    write("", name="model/__init__.py")
    write("SCALE = 2.0", name="model/net.py")
    found = load(
        write(f"from model.net import SCALE\n{HEADER}batch = SCALE * batch\n{LOSS}", name="model.py")
    )
    assert next(found.batches()).max() == 2.0


def test_a_file_that_finds_itself_in_the_place_of_a_package_is_told_to_be_renamed(write, refused):
    write("SCALE = 2.0", name="net/layers.py")
    beside = refused(load, write("from net.layers import SCALE", name="net.py"))
    assert beside.fix == (
        "`import net` finds the file net.py itself, which is no package: rename it, or give the folder `net` "
        "an `__init__.py`."
    )
    elsewhere = refused(load, write("from some_library import function", name="some_library.py"))
    assert elsewhere.fix.endswith("finds the file some_library.py itself, which is no package: rename it.")


def test_the_file_sees_its_own_path_name_and_arguments(write, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gradscope", "check", "model.py"])
    path = write(
        """
        import sys
        assert __name__ == "model", __name__
        assert sys.argv == [__file__]
        assert sys.modules[__name__].params is params
        """
        + LOSS.replace("\n", "\n        "),
        header=HEADER,
    )
    load(path)
    assert sys.argv == ["gradscope", "check", "model.py"]


def test_a_main_guard_does_not_run(write):
    load(write(LOSS + 'if __name__ == "__main__":\n    raise RuntimeError\n', header=HEADER))


def test_reading_standard_input_finds_it_empty(write, refused):
    before = sys.stdin
    error = refused(load, write("rate = input('rate: ')\n"))
    assert "EOFError" in error.what
    assert "Standard input is empty" in error.fix
    assert sys.stdin is before


def test_an_argument_parser_that_exits_is_explained(write, refused):
    path = write("""
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("data")
        args = parser.parse_args()
    """)
    error = refused(load, path)
    assert "sys.exit(2)" in error.what
    assert "__main__" in error.fix


def test_siblings_are_imported(write):
    write("WIDTH = 3\n", name="my_layers.py")
    load(write("import my_layers\nassert my_layers.WIDTH == 3\n" + LOSS, header=HEADER))


def test_a_sibling_is_found_later_when_the_loss_is_called(write):
    write("def scale(x):\n    return 2 * x\n", name="late_layers.py")
    path = write(
        """
        def loss_fn(params, batch):
            from late_layers import scale
            return scale(params["w"].sum())
        """,
        header=HEADER,
    )
    problem = load(path)
    assert problem.loss(problem.params, None, problem.key())[0] == 6.0


def test_a_relative_import_explains_the_dotted_form(write, refused):
    write("x = 1\n", name="pkg/layers.py")
    write("", name="pkg/__init__.py")
    path = write("from .layers import x\n" + LOSS, name="pkg/model.py", header=HEADER)
    assert "package.module:name" in refused(load, path).fix
    assert load("pkg.model:loss_fn").name == "loss_fn"
    assert load("pkg.model").name == "loss_fn"


def test_a_module_that_does_not_exist_is_told_apart_from_one_it_imports(write, refused):
    assert "There is no module `pkgx.model`" in refused(load, "pkgx.model:loss_fn").what
    write("import not_installed_anywhere\n", name="imports_a_missing_one.py")
    assert "your code raised ModuleNotFoundError" in refused(load, "imports_a_missing_one:loss_fn").what


def test_dataclasses_and_registered_pytrees_work(write):
    path = write(
        """
        from __future__ import annotations
        import dataclasses, typing
        import jax, numpy as np

        @jax.tree_util.register_dataclass
        @dataclasses.dataclass
        class Params:
            w: np.ndarray
            kind: typing.ClassVar[str] = "mlp"

        typing.get_type_hints(Params)
        params = Params(np.ones(3, np.float32))
        batch = np.ones((2, 3), np.float32)

        def loss_fn(params: Params, batch):
            return (batch @ params.w).sum()
        """
    )
    problem = load(path)
    assert problem.loss(problem.params, next(problem.batches()), problem.key())[0] == 6.0


def test_threads_and_changes_to_the_search_path_are_harmless(write):
    path = write(
        """
        import sys, threading
        sys.path.insert(0, "/nowhere")
        done = threading.Event()
        threading.Thread(target=done.set, daemon=True).start()
        assert done.wait(5)
        """
        + LOSS.replace("\n", "\n        "),
        header=HEADER,
    )
    load(path)


def test_a_second_load_runs_the_file_again(write):
    assert load(write("name = 1\n" + LOSS, header=HEADER)).params["w"].sum() == 3
    assert load(write("params = {'w': np.zeros(2)}\n" + LOSS, header=HEADER)).params["w"].sum() == 0


def test_a_file_that_fails_leaves_no_module_behind(write, refused):
    refused(load, write("raise ValueError\n", name="half_done.py"))
    assert "half_done" not in sys.modules


@pytest.mark.parametrize(
    "body", ["while True: pass", "while True:\n    try: time.sleep(9)\n    except Exception: pass"]
)
def test_a_file_that_runs_forever_is_stopped_at_its_line(body, write, refused):
    error = refused(load, write(f"import time\n{body}\n"), timeout=0.3)
    assert "took longer than 0.3 s" in error.what
    assert "model.py:" in error.details
    assert "--timeout" in error.fix


def test_a_generator_that_never_yields_is_stopped(write, refused):
    text = "def batches():\n    while True: pass\n    yield\n" + LOSS
    error = refused(load, write(text, header="import numpy as np\nparams = np.ones(3)\n"), timeout=0.3)
    assert "model.py:4 in batches" in error.details


def test_a_bare_except_cannot_swallow_the_timeout_for_good(write, refused):
    text = "import time\nfor _ in range(3):\n    try: time.sleep(30)\n    except: pass\n" + LOSS
    refused(load, write(text, header=HEADER), timeout=0.2)


def test_a_timeout_outside_the_main_thread_is_left_out(write):
    path, loaded = write(LOSS, header=HEADER), []
    thread = threading.Thread(target=lambda: loaded.append(load(path, timeout=10)))
    thread.start()
    thread.join()
    assert loaded[0].name == "loss_fn"


def test_a_file_changed_since_the_last_run_is_quoted_as_it_is_now(write, refused):
    refused(load, write("first = 1 / 0"))
    assert "second = 1 / 0" in refused(load, write("second = 1 / 0  # longer than before")).details
