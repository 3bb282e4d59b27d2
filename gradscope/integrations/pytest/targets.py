"""`pytest --gradscope`: the targets of the configuration as tests, one item each.

pytest runs several items in one process, where JAX may be imported and set up already, and a target may hang
or be killed: each is judged in a process of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import pytest

from gradscope import config as configuration
from gradscope.errors import GradscopeError
from gradscope.integrations.assert_healthy import as_text
from gradscope.records import Outcome
from gradscope.records.options import Task
from gradscope.records.progress import silent
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import UNICODE

ROOT = "gradscope"
PREFIX = f"{ROOT}::"
"""Of the ids of our items; the rest is the target as the configuration names it."""


class Targets:
    """The hooks of a run with `--gradscope`."""

    def __init__(self, plan: configuration.TargetPlan, asked: Sequence[str]) -> None:
        self.plan = plan
        self._asked = asked
        """Ids from the command line; empty for all targets."""

    @classmethod
    def of(cls, config: pytest.Config) -> Targets:
        """Read the configuration, and take our ids out of what pytest would look for as files."""
        try:
            plan = configured(str(config.invocation_params.dir))
        except GradscopeError as error:
            raise pytest.UsageError(str(error)) from None
        asked = [argument for argument in config.args if argument.startswith(PREFIX)]
        config.args = [argument for argument in config.args if argument not in asked]
        known = {PREFIX + name_of(task) for task in plan.tasks}
        for wrong in (argument for argument in asked if argument not in known):
            raise pytest.UsageError(f"no target of {plan.file} is called {wrong.removeprefix(PREFIX)}")
        return cls(plan, asked)

    def pytest_report_header(self) -> str:
        count = units.counted(len(self.plan.tasks), "target")
        return f"gradscope: {count} of {os.path.relpath(self.plan.file or '')}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """First of all: `-k`, `-m` and `--lf` then choose among these items, too."""
        root = TargetList.from_parent(session, name=ROOT, nodeid=ROOT)
        root.plan = self.plan
        items += [item for item in session.genitems(root) if not self._asked or item.nodeid in self._asked]


class TargetList(pytest.Collector):
    """The configuration, as the parent of its targets."""

    plan: configuration.TargetPlan

    def collect(self) -> Iterator[TargetItem]:
        for task in self.plan.tasks:
            item = TargetItem.from_parent(self, name=name_of(task))
            item.task, item.modules_from = task, self.plan.modules_from
            item.add_marker(ROOT)
            yield item


class TargetItem(pytest.Item):
    """One target: judged while it is set up, so that one which cannot be judged is an error, no failure."""

    task: Task
    modules_from: str | None
    outcome: Outcome

    def setup(self) -> None:
        # A test before this one may have changed the folder that the paths of the task start from.
        with contextlib.chdir(self.config.invocation_params.dir), found_in(self.modules_from):
            self.outcome = judged(self.task)
        if self.outcome.error is not None:
            pytest.fail(as_text(self.outcome, margin=0), pytrace=False)

    def runtest(self) -> None:
        if self.outcome.failures:
            pytest.fail(as_text(self.outcome, margin=0), pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        # The last is a headline. An end of the id in it would be shown with `::` for each dot.
        return ROOT, None, f"{ROOT} {self.name}"


def name_of(task: Task) -> str:
    """A file may be named anything; an id is one line that does nothing to a terminal."""
    return UNICODE.text(task.target)


def configured(folder: str) -> configuration.TargetPlan:
    """What `gradscope check` would check in `folder`, without a target given."""
    found = configuration.nearest(folder)
    plan = configuration.plan(found, {})
    if not plan.tasks:
        raise GradscopeError(
            "--gradscope has no targets.",
            why="No pyproject.toml here or above has them under [tool.gradscope], and no gradscope.toml."
            if found is None
            else f"{os.path.relpath(found.file)} names none.",
            fix='Write `targets = ["model.py"]` under [tool.gradscope].',
        )
    return plan


@contextlib.contextmanager
def found_in(folder: str | None) -> Iterator[None]:
    """Meanwhile processes that are started find modules in this folder, too."""
    before = os.environ.get("PYTHONPATH")
    if folder is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, before)))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before


def judged(task: Task) -> Outcome:
    from gradscope import processes

    return processes.run((task,), jobs=1, progress=silent).outcomes[0]
