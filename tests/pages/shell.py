"""A reader's shell: bash takes the lines as they stand on a page, and this process answers `gradscope`."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from gradscope.cli.app import main

SHIM = """#!/bin/sh
# Writes down what is asked, and waits for what is answered.
printf '%s\\0' "$@" >{folder}/question.new && mv {folder}/question.new {folder}/question
cat {folder}/answered >/dev/null
cat {folder}/err >&2
cat {folder}/out
exit "$(cat {folder}/code)"
"""


@dataclass
class Typed:
    """What became of one line."""

    code: int
    out: str
    err: str
    codes: list[int] = field(default_factory=list)
    """Of each `gradscope` in it."""


class Shell:
    """Starts no second Python: programs that are compiled, and imports, are shared between all lines."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder, self.tools = folder, tools
        tools.mkdir()
        os.mkfifo(tools / "answered")
        shim = tools / "gradscope"
        shim.write_text(SHIM.format(folder=tools))
        shim.chmod(0o755)
        (tools / "python").symlink_to(sys.executable)
        (tools / "alone").mkdir()
        alone = tools / "alone" / "gradscope"
        alone.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gradscope "$@"\n')
        alone.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PAGER": "cat",
        }
        self._alone = {
            **{name: value for name, value in self._environment.items() if name != "XLA_FLAGS"},
            "PATH": f"{tools / 'alone'}{os.pathsep}{self._environment['PATH']}",
        }

    def types(self, line: str) -> Typed:
        """How many devices there are is settled when JAX starts: such a line gets a process of its own."""
        question = self.tools / "question"
        codes = []
        with (self.tools / "shown").open("w+") as shown, (self.tools / "said").open("w+") as said:
            bash = subprocess.Popen(
                ["bash", "-c", line],
                cwd=self.folder,
                env=self._alone if re.search(r"--(?:devices|mesh|processes)", line) else self._environment,
                stdin=subprocess.DEVNULL,
                stdout=shown,
                stderr=said,
            )
            while bash.poll() is None:
                if question.exists():
                    words = question.read_text().split("\0")[:-1]
                    question.unlink()
                    codes.append(self._answer(words))
                time.sleep(0.005)
            shown.seek(0)
            said.seek(0)
            return Typed(bash.returncode, shown.read(), said.read(), codes)

    def _answer(self, words: list[str]) -> int:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(self.folder):
            try:
                main(words)
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        for name, stream in (("out", out), ("err", err)):
            (self.tools / name).write_bytes(stream.buffer.getvalue())  # type: ignore[attr-defined]
        (self.tools / "code").write_text(str(code))
        (self.tools / "answered").write_text("")
        return code
