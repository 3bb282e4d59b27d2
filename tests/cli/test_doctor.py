"""`gradscope doctor`: what is installed, as it is."""

from __future__ import annotations

import json
from importlib.metadata import version

import jax
import pytest

from gradscope.cli import doctor
from tests.cli.conftest import Run


def test_it_tells_versions_devices_and_variables(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS_OF_A_TEST", "--x\x1b[2J")
    found = json.loads(run("doctor", "--format", "json").out)
    assert found["packages"]["jax"] == version("jax")
    assert found["JAX"]["devices"].startswith(f"{jax.device_count()} (")
    assert found["variables"]["XLA_FLAGS_OF_A_TEST"] == "--x\x1b[2J"
    shown = run("doctor").out
    assert "--x\\x1b[2J" in shown
    assert version("optax") in shown


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("jax", "no-such-package"))
    assert doctor.facts()["packages"]["no-such-package"] == "not installed"


def test_a_backend_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> None:
        raise RuntimeError("Unable to initialize\nbackend 'tpu'")

    monkeypatch.setattr(jax, "devices", failing)
    assert doctor.facts()["JAX"] == {"devices": "Unable to initialize backend 'tpu'"}
