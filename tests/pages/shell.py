"""A reader's shell: bash takes the lines as they stand on a page; `gradscope` is answered by this process."""

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

OWN_DEVICES = re.compile(r"--(mesh|devices|processes)")
"""A process has the devices that it began with."""
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
    """Starts no second Python but for a mesh: programs that are compiled, and imports, are shared."""

    def __init__(self, folder: Path, tools: Path, lang: str = "en") -> None:
        self.folder, self.tools, self.lang = folder, tools, lang
        tools.mkdir()
        os.mkfifo(tools / "answered")
        shim = tools / "gradscope"
        shim.write_text(SHIM.format(folder=tools))
        shim.chmod(0o755)
        (tools / "python").symlink_to(sys.executable)
        self._environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PAGER": "cat",
        }

    def types(self, line: str) -> Typed:
        question = self.tools / "question"
        codes = []
        with (self.tools / "shown").open("w+") as shown, (self.tools / "said").open("w+") as said:
            bash = subprocess.Popen(
                ["bash", "-c", line],
                cwd=self.folder,
                env=self._environment,
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
        code, out, err = (self._apart if OWN_DEVICES.search(" ".join(words)) else self._here)(words)
        for name, said in (("out", out), ("err", err), ("code", str(code).encode())):
            (self.tools / name).write_bytes(said)
        (self.tools / "answered").write_text("")
        return code

    def _apart(self, words: list[str]) -> tuple[int, bytes, bytes]:
        command = [sys.executable, "-m", "gradscope", *words]
        plain = {name: value for name, value in self._environment.items() if name != "XLA_FLAGS"}
        ended = subprocess.run(command, cwd=self.folder, env=plain, capture_output=True, check=False)
        return ended.returncode, ended.stdout, ended.stderr

    def _here(self, words: list[str]) -> tuple[int, bytes, bytes]:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(self.folder):
            try:
                main([*words, "--lang", "ja"] if self.lang == "ja" and "--lang" not in words else words)
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        return code, *(stream.buffer.getvalue() for stream in (out, err))  # type: ignore[attr-defined]
