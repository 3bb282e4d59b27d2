"""A process that has imported JAX and everything of ours, and forks a child for each target.

It speaks over one socket. A byte with three pipes asks for a child; the answer is a line with its process id,
and when it has ended another with its id and status. When the other side is gone, all children are ended.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import selectors
import signal
import socket
import traceback

PRELOADED = (
    "optax",
    "numpy.random",
    "rich.style",
    "gradscope.load.definitions",
    "gradscope.load.data.files.open_files",
    "gradscope.load.model.checkpoints.loading",
    "gradscope.runs.seeds",
    "gradscope.verification.verify",
    "gradscope.processes.child",
)
"""What a check imports only when it gets there; all else of ours is imported by these."""
PIPES = 3


def main(channel_number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from gradscope.processes import prepare

    prepare.prepare_process()
    for name in PRELOADED:
        importlib.import_module(name)
    with socket.socket(fileno=channel_number) as channel:
        _Server(channel).serve()


class _Server:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: set[int] = set()
        self._wake, wake = os.pipe()
        for end in (self._wake, wake):
            os.set_blocking(end, False)
        self._waker = wake

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker)
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._wake in ready:
                    os.read(self._wake, 65536)
                    self._reap()
                if self._channel in ready and not self._answer():
                    break
        self._end_all()

    def _answer(self) -> bool:
        """Fork the child that is asked for; False where nobody asks any more."""
        try:
            asked, pipes, *_ = socket.recv_fds(self._channel, 1, PIPES)
        except OSError:
            return False
        if not asked:
            return False
        child = os.fork()
        if child == 0:
            self._be_child(pipes)
        for pipe in pipes:
            os.close(pipe)
        self._children.add(child)
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        return self._say(f"{child}\n")

    def _be_child(self, pipes: list[int]) -> None:
        """Never returns; what is left of the server must not run in a child, exit handlers included."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (self._wake, self._waker):
                os.close(number)
            self._channel.close()
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            # Forked children share its state: unseeded, each must draw numbers of its own.
            importlib.import_module("numpy.random").seed()
            status = importlib.import_module("gradscope.processes.child").main(*pipes)
        except BaseException:
            traceback.print_exc()
        finally:
            # Files of the user's that are to be removed at exit; the answer is sent, whatever they do.
            with contextlib.suppress(BaseException):
                atexit._run_exitfuncs()
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            self._children.discard(child)
            self._say(f"{child} {os.waitstatus_to_exitcode(status)}\n")

    def _say(self, line: str) -> bool:
        try:
            self._channel.sendall(line.encode())
        except OSError:
            return False
        return True

    def _end_all(self) -> None:
        for child in self._children:
            with contextlib.suppress(OSError):
                os.killpg(child, signal.SIGKILL)
        for child in self._children:
            os.waitpid(child, 0)
