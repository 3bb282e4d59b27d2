"""Watches a recording that another process writes, until it ends or Ctrl-C."""

from __future__ import annotations

import time
from contextlib import suppress

from gradscope.cli.delivery import Delivery
from gradscope.cli.live import LiveHistory
from gradscope.recording.file import Reader, read
from gradscope.records import Ending, Policy, Suite
from gradscope.serialization import report_json

PAUSE_S = 0.25


def watched(
    path: str, delivery: Delivery, policed: Policy, select: tuple[str, ...], ignore: tuple[str, ...]
) -> Suite:
    """What is to be said of the recording once it has ended. Raises `GradscopeError` where it is none."""
    from gradscope.runs.monitor import report_of

    reader = Reader(path)
    with delivery.working() as progress, suppress(KeyboardInterrupt):
        progress(f"waiting for {path}")
        live = LiveHistory(progress)
        while reader.ending is Ending.RUNNING:
            if _begun(path) and reader.more() and reader.thinned is not None and reader.thinned.steps:
                live(reader.thinned)
            else:
                time.sleep(PAUSE_S)
    report = report_of(*read(path), select=select, ignore=ignore)
    return Suite.of(report_json.rounded(report), policed)


def _begun(path: str) -> bool:
    """Whether the first line is there: a training that compiles has not written it yet."""
    try:
        with open(path, "rb") as file:
            return file.readline().endswith(b"\n")
    except FileNotFoundError:
        return False
