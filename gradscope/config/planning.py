"""The settings of each target, merged from the command line, its `[[target]]`, the file and the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradscope.config.keys import KEYS, Value, axes_of
from gradscope.config.policies import require_gate
from gradscope.config.tables import Config, Limits
from gradscope.config.targets import Named, configured, of_entry, parse
from gradscope.errors import GradscopeError
from gradscope.records.options import CheckOptions, LoadOptions, Task

COMMAND_LINE, TARGET, FILE, DEFAULT = ORIGINS = ("command line", "target", "file", "default")
"""Where a setting comes from, highest priority first."""
LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of one target; a limit is named `limits.RULE.LIMIT`."""

    name: str
    value: Value
    origin: str
    """One of `ORIGINS`."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One target to check, with its settings and their origins."""

    task: Task
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """The plan of a run of `check`."""

    targets: tuple[Planned, ...]
    settings: tuple[Setting, ...]
    """The settings of the whole run."""
    common: tuple[Setting, ...]
    """The settings of a target without a `[[target]]` of its own."""
    file: str | None
    """The configuration."""
    alone: bool
    """Whether the command line names exactly one target."""
    modules_from: str | None
    """A further folder to import modules from, besides the working directory."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(planned.task for planned in self.targets)

    def without_baseline(self) -> TargetPlan:
        def bare(task: Task) -> Task:
            return replace(task, checking=replace(task.checking, baseline=None))

        return replace(self, targets=tuple(replace(each, task=bare(each.task)) for each in self.targets))

    @property
    def jobs(self) -> int | None:
        (jobs,) = (setting.value for setting in self.settings if setting.name == "jobs")
        return jobs if isinstance(jobs, int) else None


Layer = tuple[str, Mapping[str, Value], Limits]
"""The origin of settings, and those that were given there."""


def plan(config: Config | None, given: Mapping[str, Value], targets: Sequence[str] = ()) -> TargetPlan:
    """The targets of the command line, or all configured ones, each with its settings merged.

    `given` are the checked options of the command line, by the names of `KEYS`.
    """
    named = _requested(targets) if targets else configured(config) if config else ()
    above: Layer = (COMMAND_LINE, given, {})
    below: Layer = (FILE, config.values, config.limits) if config else (FILE, {}, {})
    between = [(entry, of_entry(entry, config.folder)) for entry in config.entries] if config else []
    whole_run = _merged([above, below], per_target=False)
    planned = []
    for target in named:
        # A later entry wins.
        own: list[Layer] = [
            (TARGET, entry.values, entry.limits)
            for entry, covering in reversed(between)
            if any(one.covers(target) for one in covering)
        ]
        settings = _merged([above, *own, below], per_target=True)
        planned.append(Planned(_task(target, config, (*settings, *whole_run)), settings))
    return TargetPlan(
        targets=tuple(planned),
        settings=whole_run,
        common=_merged([above, below], per_target=True),
        file=config.file if config else None,
        alone=bool(targets) and len(named) == 1,
        modules_from=_modules_from(named, config),
    )


def loading(given: Mapping[str, Value]) -> LoadOptions:
    """The loading options of the command line, for commands that read no configuration."""
    return _loading(_merged([(COMMAND_LINE, given, {})], per_target=True), "it")


def _requested(targets: Sequence[str]) -> tuple[Named, ...]:
    """The targets as they were typed, without duplicates: patterns of a shell may overlap."""
    found: dict[tuple[str, str | None], Named] = {}
    for text in targets:
        named = parse(text, os.getcwd())
        found.setdefault((named.identity, named.name), replace(named, typed=text))
    return tuple(found.values())


def _merged(layers: Sequence[Layer], *, per_target: bool) -> tuple[Setting, ...]:
    """Each key from the first layer that has it; limits one by one."""
    settings = []
    for key in KEYS:
        if key.per_target == per_target:
            found = (
                (values[key.name], origin) for origin, values, _ in layers if values.get(key.name) is not None
            )
            value, origin = next(found, (key.default, DEFAULT))
            settings.append(Setting(key.name, value, origin))
    limits: dict[tuple[str, str], Setting] = {}
    for origin, _, given in layers if per_target else ():
        for (rule, limit), value in given.items():
            limits.setdefault((rule, limit), Setting(f"{LIMITS}.{rule}.{limit}", value, origin))
    return (*settings, *limits.values())


def _task(target: Named, config: Config | None, settings: Sequence[Setting]) -> Task:
    value: dict[str, Any] = {setting.name: setting.value for setting in settings}
    limits: dict[str, dict[str, float]] = {}
    for name in value:
        if name.startswith(f"{LIMITS}."):
            _, rule, limit = name.split(".")
            limits.setdefault(rule, {})[limit] = value[name]
    path = target.typed or target.seen_from(os.getcwd())
    task = Task(
        target=_name(target, config, path),
        path=path,
        loading=_loading(settings, path),
        checking=CheckOptions(
            batches=value["batches"],
            seeds=value["seeds"],
            select=value["select"],
            ignore=value["ignore"],
            limits=limits,
            verified=value["verify"],
            steps=value["steps"],
            after_steps=value["after-steps"],
            histograms=value["histograms"],
            through_time=value["through-time"],
            inputs=value["inputs"],
            what_if=value["what-if"],
            replicas=value["replicas"],
            overfit_batch=value["overfit-batch"],
            truncate=value["truncate"],
            widths=value["widths"],
            baseline=value["baseline"],
        ),
        fail_on=value["fail-on"],
    )
    require_gate(task)
    return task


def _loading(settings: Sequence[Setting], target: str) -> LoadOptions:
    _require_data(settings, target)
    value: dict[str, Any] = {setting.name: setting.value for setting in settings}
    return LoadOptions(
        batch_size=value["batch-size"],
        seed=value["seed"],
        timeout=value["timeout"],
        data=value["data"],
        x=value["x"],
        y=value["y"],
        loss=value["loss"],
        params=value["params"],
        mesh=axes_of(value["mesh"]) if value["mesh"] else {},
        devices=value["devices"],
    )


def _name(target: Named, config: Config | None, path: str) -> str:
    """The name in reports: independent of the working directory if a configuration is above the target."""
    if config is None:
        return path
    named = target.seen_from(config.folder)
    return path if named.startswith("../") and target.is_file else named


def _require_data(settings: Sequence[Setting], target: str) -> None:
    by_name = {setting.name: setting for setting in settings}
    for name in ("x", "y"):
        if by_name[name].value and not by_name["data"].value:
            given = by_name[name].origin == COMMAND_LINE
            raise GradscopeError(
                f'"--{name}" selects from a data file, but there is no --data.'
                if given
                else f"`{name}` selects from a data file, but {target} has no `data`.",
                fix="Give the file with --data FILE." if given else "Give the file with `data = ...`.",
                slug="bad-option",
            )


def _modules_from(named: Sequence[Named], config: Config | None) -> str | None:
    if config is None or os.path.realpath(config.folder) == os.path.realpath(os.getcwd()):
        return None
    return config.folder if any(not target.is_file for target in named) else None
