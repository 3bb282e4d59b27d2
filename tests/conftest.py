"""Sets up JAX before anything imports it, and holds every test to JAX's defaults.

Tests run user-like programs, so rank and dtype promotion stay as a user's process has them. What is
strict: warnings are errors (pyproject.toml), and a test that leaves a JAX setting changed fails, because
one forgotten `jax_enable_x64` would silently turn every later test into a float64 test.

By default one test of each kind runs. `--runslow` adds the others: those marked `slow`, the cases of a test
marked `few(n)` beyond its first n, and five times as many random examples. `--slow-part 2/6` adds a sixth of
those tests: CI runs one part at each commit. `--at-most 3` leaves out all further cases of a test.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

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

for profile, examples in {"default": 100, "slow": 500}.items():
    # The same examples in every run: a user's first run of the tests is no search for bugs.
    hypothesis.settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile("default")
os.environ.pop("CI", "")  # `gradscope check` does otherwise in a CI job; tests of that say so themselves.


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run every case of every test")
    parser.addoption("--at-most", type=int, metavar="N", help="run at most N cases of a test")
    parser.addoption("--slow-part", metavar="I/N", help="run the I-th of N parts of the other cases, too")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--runslow"):
        hypothesis.settings.load_profile("slow")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _keep_programs_apart(config)


def _keep_programs_apart(config: pytest.Config) -> None:
    """The commands of all workers share compiled programs with each other, and none with the user."""
    folder = tempfile.mkdtemp(prefix="gradscope-tests-")
    os.environ["XDG_CACHE_HOME"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cases: Counter[str] = Counter()
    most = config.getoption("--at-most") or len(items)
    left_out = set()
    for item in items:
        few = item.get_closest_marker("few")
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        if few is not None and cases[test] > few.args[0]:
            item.add_marker("slow")
        if cases[test] > most:
            left_out.add(item)
    if not config.getoption("--runslow"):
        wanted = chosen(config.getoption("--slow-part"))
        left_out |= {item for item in items if item.get_closest_marker("slow") and not wanted(item.nodeid)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def chosen(part: str | None) -> Callable[[str], bool]:
    """By the name of a test: it stays in the same part when others come and go."""
    if part is None:
        return lambda name: False
    which, _, parts = part.partition("/")
    return lambda name: zlib.crc32(name.encode()) % int(parts) == int(which) - 1


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
