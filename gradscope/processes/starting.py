"""Starts children: forked from a server, or each with an interpreter of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Protocol

PATIENCE_S = 10.0
"""For the server to end its children and itself."""
_BOOT = """
import sys
sys.path[:] = {path!r}
from gradscope.processes.{module} import main
sys.exit(main({numbers}))
"""


class ServerLost(Exception):
    """The server ended, and nobody hears of its children any more; the text is what it said."""


class Starter(Protocol):
    def start(self, pipes: list[int]) -> int:
        """The process id of a new child, which leads a process group and owns these ends of pipes."""

    def ended(self) -> Mapping[int, int]:
        """Exit statuses of the children that ended since the last call; minus the signal where one did it."""

    def close(self) -> None:
        """End what is left."""


def best() -> type[ForkServer] | type[Spawner]:
    """Forking without a new program is safe on Linux; Apple's libraries may not survive it."""
    return ForkServer if sys.platform == "linux" else Spawner


class ForkServer:
    """The side that asks; `server.py` is the other one."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._line = b""
        self._ended: dict[int, int] = {}
        with theirs:
            # Its own group: Ctrl-C is for this process, which then ends the server.
            self._process = subprocess.Popen(
                _command("server", [theirs.fileno()]),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                process_group=0,
            )

    def fileno(self) -> int:
        """Readable when a child has ended."""
        return self._channel.fileno()

    def start(self, pipes: list[int]) -> int:
        try:
            socket.send_fds(self._channel, [b"+"], pipes)
        except OSError:
            raise self._lost() from None
        while True:
            words = self._next()
            if len(words) == 1:
                return words[0]
            self._ended[words[0]] = words[1]

    def ended(self) -> Mapping[int, int]:
        self._channel.setblocking(False)
        try:
            while True:
                process, status = self._next()
                self._ended[process] = status
        except BlockingIOError:
            pass
        finally:
            self._channel.setblocking(True)
        found, self._ended = self._ended, {}
        return found

    def close(self) -> None:
        self._channel.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _next(self) -> list[int]:
        """The numbers of the next line: a process that began, or one that ended and its status."""
        while b"\n" not in self._line:
            try:
                received = self._channel.recv(4096)
            except ConnectionError:
                received = b""
            if not received:
                raise self._lost()
            self._line += received
        line, _, self._line = self._line.partition(b"\n")
        return [int(word) for word in line.split()]

    def _lost(self) -> ServerLost:
        self._said.seek(0)
        return ServerLost(self._said.read()[-4000:].decode(errors="replace"))


class Spawner:
    """Costs the import of JAX each time, and works wherever a process can be started."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, pipes: list[int]) -> int:
        child = subprocess.Popen(
            _command("child", pipes), pass_fds=pipes, stdin=subprocess.DEVNULL, process_group=0
        )
        self._children[child.pid] = child
        return child.pid

    def ended(self) -> Mapping[int, int]:
        found = {
            number: child.returncode for number, child in self._children.items() if child.poll() is not None
        }
        for number in found:
            del self._children[number]
        return found

    def close(self) -> None:
        for child in self._children.values():
            child.kill()
            child.wait()


def _command(module: str, numbers: list[int]) -> list[str]:
    # Modules are found as here, whether or not gradscope is installed.
    boot = _BOOT.format(path=sys.path, module=module, numbers=", ".join(map(str, numbers)))
    return [sys.executable, "-c", boot]
