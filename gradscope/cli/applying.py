"""Writing an edit into the user's file: only where git can take it back, or where that was waived."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from gradscope.errors import GradscopeError
from gradscope.records import Report
from gradscope.records.options import LoadOptions
from gradscope.records.progress import Progress
from gradscope.serialization import atomic_write

NO_REPOSITORY = 128


def require_writable(path: str, force: bool) -> None:
    """Before minutes are spent on trials. Raises `GradscopeError`."""
    atomic_write.check_writable(path)
    if not force and (why := _unsaved(path)):
        raise GradscopeError(
            f'"{path}" is not written.',
            why=why,
            fix="Commit it first, or give --force.",
            slug="unwritable-output",
        )


def portable(diff: str) -> tuple[str, str]:
    """A diff as `git apply` and `patch -p1` take it, and the folder to run them in: empty for that of
    the process. They refuse files outside of theirs."""
    path = diff.split("\n")[0].removeprefix("--- a/").removesuffix("\t")
    whole = os.path.realpath(path)
    folder = os.path.commonpath([os.getcwd(), whole])
    if not path.startswith(os.pardir + os.sep) or folder == os.getcwd():
        return diff, ""
    _, _, rest = diff.partition("\n@@")
    name = os.path.relpath(whole, folder) + ("\t" if " " in whole else "")
    return f"--- a/{name}\n+++ b/{name}\n@@{rest}", folder


def applied(report: Report, loading: LoadOptions, force: bool, progress: Progress) -> Report:
    """The file with the best remedy's edit in it, and what `check` finds of it now."""
    # Imported by now: it has tried the edit.
    from gradscope.runs.check import check
    from gradscope.runs.fix import edited_file

    found = report.remedies
    assert found is not None
    path, text = edited_file(found)
    require_writable(path, force)
    atomic_write.write_whole(path, text)
    again = check(report.target, loading, progress=progress)
    return replace(again, remedies=replace(found, applied=path))


def _unsaved(path: str) -> str:
    """Why git could not give the file back as it is now; empty where it could."""
    folder = str(Path(path).resolve().parent)
    name = Path(path).resolve().name
    try:
        known = subprocess.run(
            ["git", "--literal-pathspecs", "-C", folder, "ls-files", "--error-unmatch", "--", name],
            capture_output=True,
            timeout=60,
        )
        if known.returncode == NO_REPOSITORY:
            return "It is not in a git repository, so that nothing could take the edit back."
        if known.returncode:
            return "git does not have it, so that nothing could take the edit back."
        changed = subprocess.run(
            ["git", "--literal-pathspecs", "-C", folder, "status", "--porcelain", "--", name],
            capture_output=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"git could not be asked whether it has the file as it is now ({type(error).__name__})."
    return "It has changes that git does not have." if changed.stdout.strip() or changed.returncode else ""
