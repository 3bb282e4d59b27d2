"""Input that cannot be judged, through the real command: exit code, what, why, what to do, no traceback.

Everything but a Ctrl-C in a process of its own runs in this process. `tests/load` holds the many variants
of each; here stands that each arrives at the user, whichever part of gradscope sees it first.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gradscope.cli.app import main
from gradscope.trace import compiling

LINEAR = """
import jax
import jax.numpy as jnp
import numpy as np

params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
batch = np.ones((4, 3), np.float32)

def predict(params, x):
    return x @ params["w"] + params["b"]

def loss_fn(params, batch):
    return jnp.mean(predict(params, batch) ** 2)
"""


LIBRARIES = tuple(str(Path(find_spec(name).origin).parent) + os.sep for name in ("gradscope", "jax"))
"""The folders of the packages themselves: a clone may be called `gradscope`, too."""


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def frames_of_libraries(self) -> list[str]:
        return [line for line in self.err.splitlines() if any(folder in line for folder in LIBRARIES)]

    @property
    def said(self) -> str:
        """The message without its line breaks."""
        return " ".join(self.err.split())


Check = Callable[..., Result]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Check]:
    """Writes `model.py` (the linear model and the lines given) and runs `gradscope check` on it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    # Set here so that what the command changes is undone.
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")

    def check(text: str | None, *options: str, header: str = LINEAR) -> Result:
        if text is not None:
            (tmp_path / "model.py").write_text(header + textwrap.dedent(text), encoding="utf-8")
        with pytest.raises(SystemExit) as caught:
            main(["check", "model.py", *options])
        captured = capsys.readouterr()
        return Result(int(caught.value.code or 0), captured.out, captured.err)

    yield check
    sys.modules.pop("model", None)


def refused(result: Result, *said: str) -> Result:
    """Holds what is true of every refusal."""
    assert (result.code, result.out) == (2, ""), result.err
    assert result.err.startswith("error: ")
    assert "→ " in result.err, f"it says what to do:\n{result.err}"
    assert result.frames_of_libraries == []
    assert "Traceback" not in result.err
    for part in said:
        assert part in result.said, result.err
    return result


def test_a_missing_file(check: Check, tmp_path: Path) -> None:
    (tmp_path / "modle.py").write_text("")
    refused(check(None), "There is no file model.py.", "1 Python file", "modle.py")


def test_a_syntax_error(check: Check) -> None:
    result = check("def loss_fn(params, batch)\n    return 0\n", header="")
    refused(result, "model.py:1 is not valid Python", "def loss_fn(params, batch)")


def test_a_missing_package(check: Check) -> None:
    refused(check("import nosuchlib\n"), "No module named 'nosuchlib'", "model.py:14", "Install `nosuchlib`")


def test_an_exception_in_init_shows_the_users_frames_only(check: Check) -> None:
    result = check(
        """
        del params
        def width(key):
            return 1 / 0
        def init(key):
            return {"w": jnp.ones(width(key))}
        """
    )
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines() == [
        "error: While calling init, your code raised ZeroDivisionError: division by zero",
        "    model.py:19 in init",
        '      return {"w": jnp.ones(width(key))}',
        "    model.py:17 in width",
        "      return 1 / 0",
        "  gradscope explain error-in-your-code",
    ]


def test_an_exception_in_the_loss_shows_the_users_frames_only(check: Check) -> None:
    result = check(
        """
        @jax.jit
        def inner(h):
            raise LookupError("\\x1b[2Jno [bold]table[/]")
        def loss_fn(params, batch):
            return jax.checkpoint(lambda p: inner(predict(p, batch)))(params)
        """
    )
    assert (result.code, result.out) == (2, "")
    frames = [line.split()[0] for line in result.err.splitlines() if " in " in line]
    assert frames == ["model.py:19", "model.py:19", "model.py:17"]
    assert result.err.startswith(
        "error: While tracing loss_fn, your code raised LookupError: \\x1b[2Jno [bold]table[/]\n"
    )


def test_no_loss_function(check: Check) -> None:
    refused(check("objective = loss_fn; del loss_fn\n"), "no `loss_fn`", "model.py:objective")


LOSSES = {
    "too many arguments": (
        "def loss_fn(params, x, y, z): return 0.0",
        ("takes `x`, `y`, `z`", "shape (4, 3)", "loss_fn(params, batch, key)"),
    ),
    "no argument": ("def loss_fn(): return 0.0", ("takes no parameter", "loss_fn(params, batch, key)")),
    "a loss per example": (
        "def loss_fn(params, batch): return predict(params, batch)[:, 0]",
        ("array of shape (4,), not a scalar", "jnp.mean(...)"),
    ),
    "an integer": (
        "def loss_fn(params, batch): return jnp.argmax(predict(params, batch))",
        ("dtype int32, which is not floating",),
    ),
    "a complex number": (
        "def loss_fn(params, batch): return jnp.sum(1j * predict(params, batch))",
        ("dtype complex64, which is complex", "absolute value"),
    ),
    "a string": ("def loss_fn(params, batch): return 'nan'", ("returned str, which is no number",)),
    "nothing": (
        "def loss_fn(params, batch): predict(params, batch)",
        ("returned NoneType, which is no number",),
    ),
}


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_that_has_no_gradient(case: str, check: Check) -> None:
    text, said = LOSSES[case]
    refused(check(text), "loss_fn", *said)


DATA = {
    "only complex parameters": ('params = {"w": jnp.ones((3, 2), "complex64")}', "jax.lax.complex(re, im)"),
    "no floating parameter": ('params = {"w": jnp.ones((3, 2), int)}', "params['w']: int32[3, 2]"),
    "no parameter": ("params = {}", "params is empty"),
    "no rows": ("batch = np.ones((0, 3), np.float32)", "its arrays have shapes (0, 3)"),
    "no batch": ("del batch\ndef batches(): return iter(())", "batches yields no batch"),
    "ragged rows": ("batch = np.array([[1.0, 2.0], [3.0]], object)", "batch holds objects"),
    "mixed columns": (
        'params = {"w": np.array([1.0, None], object), "b": jnp.zeros(2)}',
        "params['w'] holds objects",
    ),
    "text": ("batch = {'x': batch, 'id': ['a', 'b']}", "batch['id'][0] is `'a'`, of type str"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_used(case: str, check: Check) -> None:
    text, said = DATA[case]
    refused(check(text), said)


def test_mismatched_shapes_name_the_line_and_the_shapes(check: Check) -> None:
    result = check("batch = np.ones((4, 5), np.float32)\n")
    refused(result, "(5,) and (3,)", "model.py:10 in predict", 'x @ params["w"]', "do not fit together")


def test_a_file_that_exits(check: Check) -> None:
    refused(check("import sys\nsys.exit(0)\n"), "called sys.exit(0)", "model.py:15", "__main__")


def test_a_file_that_reads_stdin(check: Check) -> None:
    result = check("width = int(input())\n")
    refused(result, "EOFError", "model.py:14", "Standard input is empty")


def test_a_file_that_reads_all_of_stdin_finds_it_empty(check: Check) -> None:
    text = "import sys\nassert (sys.stdin.read(), sys.stdin.buffer.read()) == ('', b'')\n"
    assert check(text).code == 0


def test_a_file_that_runs_forever(check: Check) -> None:
    result = check("import time\nwhile True:\n    time.sleep(0.01)\n", "--timeout", "1")
    refused(result, "took longer than 1 s", "model.py:16", "time.sleep(0.01)", "--timeout")


@pytest.mark.parametrize("option", ["--output", "--save"])
@pytest.mark.parametrize("path", [".", "nowhere/run.json", "model.py"])
def test_an_output_that_cannot_be_written_is_refused_before_the_file_runs(
    option: str, path: str, check: Check
) -> None:
    refused(check('raise RuntimeError("the file ran")\n', option, path), f'"{path}"')


def test_a_disk_that_turns_read_only_loses_no_older_report(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders without the right to write are no obstacle to root, so the system's answer is played."""

    real_open = os.open

    def no_room(path: str, flags: int, *rest: int, **options: Any) -> int:
        if flags & os.O_CREAT and os.fspath(path).startswith(os.path.realpath(tmp_path)):
            raise OSError(30, "Read-only file system")
        return real_open(path, flags, *rest, **options)

    (tmp_path / "run.json").write_text("older")
    monkeypatch.setattr(os, "open", no_room)
    refused(check("", "--save", "run.json"), '"run.json" cannot be written', "Read-only file system")
    assert (tmp_path / "run.json").read_text() == "older"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(check: Check, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    refused(check("", "--save", "closed/run.json"), "cannot be written")


def test_not_enough_memory_is_told_before_running(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "free_memory", lambda: 16)
    refused(check("import os\n"), "GiB", "are free", "--batch-size")


def test_a_loop_that_cannot_be_reversed(check: Check) -> None:
    result = check(
        """
        def loss_fn(params, batch):
            def again(carry):
                return carry[0] + 1, carry[1] @ params["w"] @ params["w"].T
            steps, h = jax.lax.while_loop(lambda carry: carry[0] < 3, again, (0, batch))
            return jnp.mean(predict(params, h))
        """
    )
    assert (result.code, result.out) == (2, "")
    assert "Reverse-mode differentiation does not work for lax.while_loop" in result.said
    assert "model.py:18" in result.err
    assert result.frames_of_libraries == []


VJP = """
@jax.custom_vjp
def same(x):
    return x
def forward(x):
    return x, None
def backward(_, ct):
    {}
same.defvjp(forward, backward)
def loss_fn(params, batch):
    return jnp.mean(same(predict(params, batch)))
"""


def test_a_backward_rule_that_raises(check: Check) -> None:
    result = check(VJP.format('raise NotImplementedError("later")'))
    assert (result.code, result.out) == (2, "")
    assert "While differentiating the loss, your code raised NotImplementedError: later" in result.said
    assert "model.py:21 in backward" in result.err
    assert result.frames_of_libraries == []


def test_a_backward_rule_with_a_wrong_shape(check: Check) -> None:
    result = check(VJP.format("return (ct[:1],)"))
    assert (result.code, result.out) == (2, "")
    assert "float32[1,2]" in result.said
    assert result.frames_of_libraries == []


def test_a_callback_that_raises_while_the_loss_runs(check: Check) -> None:
    result = check(
        """
        def read(x):
            raise LookupError("sensor offline")
        def loss_fn(params, batch):
            jax.debug.callback(read, batch)
            return jnp.mean(predict(params, batch))
        """
    )
    assert (result.code, result.out) == (2, "")
    said = result.err[result.err.index("error: ") :]
    assert "LookupError: sensor offline" in " ".join(said.split())
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if " in " in line] == ["    model.py:16 in read"]


NAN = {
    "a parameter": ('params["w"] = params["w"].at[0, 1].set(jnp.nan)', "`w` holds 1 value of 6", "w"),
    "the batch": ("batch = {'x': batch}\nbatch['x'][2, 1] = np.nan\n"
                  "def loss_fn(params, batch): return jnp.mean(predict(params, batch['x']))",
                  "`batch.x` holds 1 value of 12", None),
}  # fmt: skip


@pytest.mark.parametrize("case", NAN)
def test_a_nan_that_is_given_is_a_finding_that_names_the_leaf(case: str, check: Check) -> None:
    text, message, layer = NAN[case]
    result = check(text, "--format", "json")
    assert (result.code, result.err) == (1, "")
    report = json.loads(result.out)
    (finding,) = report["findings"]
    assert (finding["rule"], finding["layer"]) == ("non-finite", layer)
    assert message in finding["message"]
    assert report["flow"]["loss"] == "NaN"


def test_fewer_batches_than_asked_for_are_told(check: Check) -> None:
    result = check("one = batch\ndel batch\ndef batches():\n    yield one\n    yield one\n", "--batches", "5")
    assert result.code == 0
    assert "3 of 5 batches: the data ended before them" in result.out


def test_one_batch_where_more_are_asked_for_is_a_note(check: Check) -> None:
    result = check("", "--batches", "5")
    assert result.code == 0
    assert "There is one batch, not the 5 that were asked for" in result.out
    assert "not judged" not in result.out


@pytest.mark.parametrize("where", ["at import", "in the loss"])
def test_ctrl_c_ends_with_130_and_leaves_no_file(where: str, check: Check, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("older")
    interrupt = "import signal\nsignal.raise_signal(signal.SIGINT)\n"
    in_loss = "def loss_fn(params, batch):\n" + textwrap.indent(interrupt, "    ") + "    return 0.0\n"
    text = interrupt if where == "at import" else in_loss
    result = check(text, "--save", "run.json", "--output", "report.txt")
    assert (result.code, result.out) == (130, "")
    assert "Traceback" not in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.py", "run.json"]
    assert (tmp_path / "run.json").read_text() == "older"


def test_ctrl_c_from_outside_stops_the_process(tmp_path: Path) -> None:
    waiting = "print('ready', flush=True)\nimport time\ntime.sleep(60)\n"
    (tmp_path / "model.py").write_text(waiting)
    process = subprocess.Popen(
        [sys.executable, "-m", "gradscope", "check", "model.py", "--output", "report.txt"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=30), said) == (130, "")
    assert [p.name for p in tmp_path.iterdir()] == ["model.py"]
