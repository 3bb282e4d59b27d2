"""A file is written whole or not at all, with the mode that a user expects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradscope.errors import GradscopeError
from gradscope.serialization.atomic_write import check_writable, write_whole


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    def fail(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(GradscopeError, match="No space left on device"):
        write_whole(str(path), "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_ctrl_c_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(source: str, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(str(tmp_path / "run.json"), "new")
    assert os.listdir(tmp_path) == []


def test_a_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("x")
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        write_whole(str(old), "y")
        write_whole(str(new), "y")
    finally:
        os.umask(before)
    assert (old.stat().st_mode & 0o777, new.stat().st_mode & 0o777) == (0o640, 0o640)


def test_a_link_is_followed_and_a_device_is_not_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(str(link), "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    write_whole(os.devnull, "text")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(("place", "why"), [("", "a folder"), ("absent/run.json", "no folder")])
def test_an_unwritable_place_is_known_before_the_run(tmp_path: Path, place: str, why: str) -> None:
    with pytest.raises(GradscopeError, match=why) as caught:
        check_writable(str(tmp_path / place))
    assert caught.value.exit_code == 2
    with pytest.raises(GradscopeError):
        write_whole(str(tmp_path / place), "text")


def test_the_umask_of_the_process_is_never_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of the user's would make its files meanwhile without one."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"set to {mask:o}"))
    write_whole(str(tmp_path / "new"), "y")
    assert (tmp_path / "new").read_text() == "y"


def test_what_is_private_is_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, modes = tmp_path / "secret", list[int]()
    secret.write_text("x")
    secret.chmod(0o600)
    chmod = os.chmod
    monkeypatch.setattr(
        os, "chmod", lambda file, mode: (modes.append(os.stat(file).st_mode & 0o777), chmod(file, mode))
    )
    write_whole(str(secret), "y")
    assert (modes, secret.stat().st_mode & 0o777) == ([0o600], 0o600)
