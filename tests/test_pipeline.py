"""The process is set up before JAX is imported, and what the user has set wins."""

import os
import subprocess
import sys

import pytest

from gradscope.pipeline import prepare_process


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")


def test_the_users_xla_flags_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    prepare_process()
    flags = os.environ["XLA_FLAGS"].split()
    assert flags == ["--xla_force_host_platform_device_count=2", "--xla_backend_optimization_level=0"]


def test_the_users_optimization_level_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    prepare_process()
    assert os.environ["XLA_FLAGS"] == "--xla_backend_optimization_level=3"


@pytest.mark.parametrize("module", ["gradscope", "gradscope.pipeline", "gradscope.cli.app"])
def test_importing_does_not_import_jax(module: str) -> None:
    code = f"import sys, {module}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
