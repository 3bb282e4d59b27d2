"""The compilation cache: ours by default, the user's where set, and never without bound."""

import os
import zlib
from pathlib import Path

import pytest

from gradscope.processes import compilation_cache


def test_the_users_own_cache_folder_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    compilation_cache.use()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    compilation_cache.use()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "gradscope" / "xla")


@pytest.mark.parametrize("set_by_user", [False, True])
def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch, set_by_user: bool) -> None:
    """A container that runs as a number has no HOME that anyone set, and no entry among the users."""

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    if set_by_user:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    compilation_cache.use()
    compilation_cache.forget_unfinished()
    assert os.environ.get("JAX_COMPILATION_CACHE_DIR") == ("elsewhere" if set_by_user else None)


def test_the_entries_used_longest_ago_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "older", "oldest"]):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1_000_000 - age, 900_000))
    compilation_cache.prune(tmp_path, 250)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "older"]


def test_where_reads_leave_no_trace_the_oldest_entries_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "older", "oldest"]):
        (tmp_path / name).write_bytes(b"x" * 100)
        # Unpacked from an archive, say: what was read last is older than what was written.
        os.utime(tmp_path / name, (100_000 + age, 1_000_000 - age))
    compilation_cache.prune(tmp_path, 250)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "older"]


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    compilation_cache.prune(tmp_path / "none", 1)


@pytest.mark.parametrize(
    ("set_by_user", "left"), [(False, ["of_a_sibling", "old"]), (True, ["half", "of_a_sibling", "old"])]
)
def test_what_a_killed_process_left_half_written_goes_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, set_by_user: bool, left: list[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    where = tmp_path / "gradscope" / "xla"
    where.mkdir(parents=True)
    whole = zlib.compress(bytes(range(256)) * 40)
    for name, data in (("half", whole[: len(whole) // 2]), ("of_a_sibling", whole), ("old", whole[:9])):
        (where / name).write_bytes(data)
    os.utime(where / "old", (1_000_000, 1_000_000))
    if set_by_user:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "elsewhere"))
    compilation_cache.forget_unfinished()
    assert sorted(p.name for p in where.iterdir()) == left
