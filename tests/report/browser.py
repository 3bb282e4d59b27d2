"""A real Chromium without a window: what becomes of a page in it, what it complains of, what it asks for.

Debian's package, or whatever `chromium` is on the path. Where there is none its tests are skipped; with
GRADSCOPE_NEEDS_CHROMIUM=1, as in CI, they fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--log-level=0",
    "--virtual-time-budget=2000",
)


@dataclass(frozen=True)
class Visit:
    """What a page looked like when it had loaded."""

    dom: str
    console: list[str]


def chromium() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("GRADSCOPE_NEEDS_CHROMIUM") == "1":
        pytest.fail(f"none of {', '.join(NAMES)} is on the path, and GRADSCOPE_NEEDS_CHROMIUM=1")
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} is on the path: install Debian's `chromium`")
    return found


def visit(file: Path, *options: str) -> Visit:
    program = chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *OPTIONS, *options, f"--user-data-dir={profile}", "--dump-dom", file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if re.search(r":CONSOLE[:(\]]", line)]
    return Visit(done.stdout, console)


@contextmanager
def trap() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and the paths that anyone asked it for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the requests are kept, not printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
