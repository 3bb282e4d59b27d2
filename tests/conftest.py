"""Sets up JAX before anything imports it, and holds every test to JAX's defaults.

Tests run user-like programs, so rank and dtype promotion stay as a user's process has them. What is
strict: warnings are errors (pyproject.toml), and a test that leaves a JAX setting changed fails, because
one forgotten `jax_enable_x64` would silently turn every later test into a float64 test.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import hypothesis
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=4".strip()

WATCHED = (
    "jax_enable_x64",
    "jax_debug_nans",
    "jax_debug_infs",
    "jax_disable_jit",
    "jax_numpy_rank_promotion",
)

hypothesis.settings.register_profile(
    "local", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("local"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.pop("CI", "") else "local")
# Popped: `gradscope check` does otherwise in a CI job, and tests of that say so themselves.


def jax_settings() -> dict[str, object]:
    """Empty while JAX is not imported: a test without JAX stays one."""
    jax = sys.modules.get("jax")
    return {name: getattr(jax.config, name) for name in WATCHED} if jax else {}


@pytest.fixture(autouse=True)
def jax_settings_stay_as_they_are() -> Iterator[None]:
    before = jax_settings()
    yield
    after = jax_settings()
    changed = {name: after[name] for name, value in before.items() if after[name] != value}
    assert not changed, f"the test left these JAX settings changed: {changed}"
