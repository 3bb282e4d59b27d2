"""What the user's code may do to this process, undone before the result is written."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Meanwhile what is printed goes to stderr: it must not end up inside the JSON. Then files are again
    looked for from the folder that the command was called in."""
    with contextlib.chdir("."), contextlib.redirect_stdout(sys.stderr):
        yield
