"""Finds the rules by walking the package: a rule's file is all it takes to add one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from gradscope.errors import GradscopeError
from gradscope.rules.base import Rule


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, sorted by family and name."""
    found: dict[str, Rule] = {}
    for family in pkgutil.iter_modules([str(Path(__file__).parent)], f"{__package__}."):
        if family.ispkg:
            for rule in _rules_in(family.name):
                if rule.name in found:
                    raise RuntimeError(f"two rules are named {rule.name!r}")
                found[rule.name] = rule
    return tuple(sorted(found.values(), key=lambda rule: (rule.family, rule.name)))


def get(name: str) -> Rule:
    for rule in all_rules():
        if rule.name == name:
            return rule
    raise unknown("rule", name, [rule.name for rule in all_rules()])


def unknown(kind: str, name: str, known: Iterable[str]) -> GradscopeError:
    names = sorted(known)
    near = get_close_matches(name.lower().replace("_", "-"), names, n=2, cutoff=0.5)
    near = near or get_close_matches(name.lower(), names, n=2, cutoff=0.5)
    fix = (
        f"Did you mean {' or '.join(repr(n) for n in near)}?"
        if near
        else "`gradscope rules` lists the rules."
    )
    return GradscopeError(f"There is no {kind} named {name!r}.", fix=fix, slug="unknown-rule")


def _rules_in(family: str) -> list[Rule]:
    path = importlib.import_module(family).__path__
    modules = [importlib.import_module(m.name) for m in pkgutil.iter_modules(path, family + ".")]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Rule)]
