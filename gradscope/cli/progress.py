"""One line on stderr that says what is being done and for how long, and what is known below it; gone when the
result comes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from gradscope.cli import screen
from gradscope.language import heading
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.glyphs import glyphs_for
from gradscope.report.terminal.lines import styled

PATIENCE_S = 0.3
"""A shorter run shows nothing: a line that flashes is worse than none."""


class StageLine:
    """Called with the words for each stage; silent off a terminal."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled and screen.interactive(sys.stderr)
        # Rich reads the same variables, and knows less: FORCE_COLOR would make it animate a log.
        self._console = Console(
            file=sys.stderr, force_terminal=self._enabled, force_interactive=self._enabled
        )
        self._glyphs = glyphs_for(sys.stderr.encoding)
        self._spinner = Spinner("line" if self._glyphs.encoding else "dots", style="cyan")
        self._stage = heading("starting")
        self._began = time.monotonic()
        self._timer = threading.Timer(PATIENCE_S, self._start)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._over = False
        self._live: Live | None = None
        self._below: list[Text] = []

    @property
    def visible(self) -> bool:
        return self._live is not None

    @property
    def view(self) -> View:
        """What fits below the line."""
        return screen.view(sys.stderr)

    @property
    def height(self) -> int:
        """Lines that fit below it."""
        return max(self._console.height - 2, 1)

    def below(self, lines: Iterable[Line]) -> None:
        """Show these lines until others come."""
        self._below = [styled(line) for line in lines]

    def __call__(self, stage: str) -> None:
        self._stage = self._glyphs.text(heading(stage))

    def __enter__(self) -> StageLine:
        self._began = time.monotonic()
        if self._enabled:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._over = True
            if self._live is not None:
                self._live.stop()

    def _start(self) -> None:
        with self._lock:
            if not self._over:
                self._live = Live(
                    get_renderable=self._line, console=self._console, transient=True, refresh_per_second=10
                )
                self._live.start()

    def _line(self) -> Group:
        elapsed = time.monotonic() - self._began
        self._spinner.update(text=Text.assemble(self._stage, (f"  {elapsed:.0f} s", "dim")))
        return Group(self._spinner, *self._below)
