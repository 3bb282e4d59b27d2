"""The pytest plugin: a fixture, a marker, and `pytest --gradscope`.

pytest imports this file in every run of everyone who has gradscope installed: nothing that takes time is
imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradscope.records import Report

MARKER = "gradscope"
DEFAULTS = ("fail_on", "select", "ignore", "batches")
"""What the marker takes."""
DESCRIPTION = (
    f"{MARKER}({', '.join(f'{name}=...' for name in DEFAULTS)}): how the fixture `gradscope` checks: "
    "severities and rules to fail on, rules to apply, rules to leave out, the number of batches to measure; "
    "it marks the tests that --gradscope adds, too."
)


@dataclass(frozen=True, slots=True)
class Gate:
    """The functions of `gradscope`, with the defaults that the marker of the test gives."""

    defaults: Mapping[str, Any] = field(default_factory=dict)

    def check(self, loss_fn: Any, params: Any = None, batch: Any = None, **options: Any) -> Report:
        """As `gradscope.check`."""
        from gradscope.runs.check import check_loss

        return check_loss(loss_fn, params, batch, **self._with_defaults(options))

    def assert_healthy(self, loss_fn: Any, params: Any = None, batch: Any = None, **options: Any) -> Report:
        """As `gradscope.assert_healthy`."""
        __tracebackhide__ = True
        from gradscope.integrations.assert_healthy import assert_healthy

        if "fail_on" in self.defaults:
            options.setdefault("fail_on", self.defaults["fail_on"])
        return assert_healthy(loss_fn, params, batch, **self._with_defaults(options))

    def verify(self, loss_fn: Any, params: Any = None, batch: Any = None, **options: Any) -> Report:
        """As `gradscope.verify`."""
        from gradscope.runs.verify import verify_loss

        return verify_loss(loss_fn, params, batch, **options)

    def _with_defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        # `batches` of the library are the batches themselves; the marker gives their number, as a file does.
        names = {"select": "select", "ignore": "ignore", "batches": "count"}
        given = {names[name]: value for name, value in self.defaults.items() if name in names}
        return {**given, **options}


@pytest.fixture(name="gradscope")
def _gate(request: pytest.FixtureRequest) -> Gate:
    """`gradscope.check` and `gradscope.assert_healthy`, as `@pytest.mark.gradscope(...)` wants it."""
    merged: dict[str, Any] = {}
    # The nearest marker comes first: what it says wins over that of the class or the module.
    for mark in reversed(list(request.node.iter_markers(MARKER))):
        merged.update(_checked(mark))
    return Gate(merged)


def _checked(mark: pytest.Mark) -> Mapping[str, Any]:
    from difflib import get_close_matches

    unknown = [name for name in mark.kwargs if name not in DEFAULTS]
    if not (mark.args or unknown):
        return mark.kwargs
    near = get_close_matches(unknown[0], DEFAULTS, n=1) if unknown else []
    fix = f"did you mean {near[0]}=?" if near else f"it takes {', '.join(f'{name}=' for name in DEFAULTS)}"
    what = f"{unknown[0]}= is no option" if unknown else "a value without a name is no option"
    pytest.fail(f"{what} of @pytest.mark.{MARKER}: {fix}", pytrace=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("gradscope").addoption(
        "--gradscope",
        action="store_true",
        help="Check the targets of [tool.gradscope], too: a test for each, in a process of its own.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", DESCRIPTION)
    if config.getoption("gradscope"):
        from gradscope.integrations.pytest.targets import Targets

        config.pluginmanager.register(Targets.of(config), "gradscope-targets")
