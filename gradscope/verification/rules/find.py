"""Finds every `custom_vjp` and `custom_jvp` of a program, and what the program asks of each.

A rule is judged by what is used of it: the arguments that a parameter reaches, and the results that the
loss has a gradient from. A function that hands back its log-sum-exp too may ignore that one's cotangent.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.records import Source
from gradscope.trace import jaxprs
from gradscope.trace.domains.needed import Needed
from gradscope.trace.domains.reach import Reach
from gradscope.trace.forward import entries
from gradscope.trace.jaxprs import Body, CustomRule
from gradscope.trace.nested.registry import inside
from gradscope.trace.sources import source_at
from gradscope.trace.vocabulary import is_real
from gradscope.trace.walk import Path, walk


@dataclass(frozen=True)
class RuleCall:
    """One equation with a custom derivative rule."""

    path: Path
    eqn: JaxprEqn
    rule: CustomRule
    looped: bool
    """A loop is around it: it runs more than once."""
    inside: str | None
    """The primitive around it that gradscope cannot look into; its operands cannot be had."""
    reached: tuple[bool, ...]
    """By operand: a gradient of it would come to a parameter."""
    needed: tuple[bool, ...]
    """By result: the loss has a gradient from it."""

    @property
    def is_users(self) -> bool:
        """The function is the user's own, and not a library's."""
        return jaxprs.is_user_file(self.rule.file) if self.rule.file else False

    @property
    def active(self) -> tuple[int, ...]:
        """Operands that have a derivative."""
        return tuple(
            i
            for i, atom in enumerate(self.eqn.invars)
            if i >= self.rule.consts and is_real(atom.aval) and _size(atom.aval)
        )

    def argument(self, operand: int) -> str:
        """Its name where one is known, else its number. `p['w']` for a leaf of an argument `p`."""
        position = operand - self.rule.consts
        name, written = self.rule.names[position], _parameters(self.rule)
        if name is None:
            alike = len(written) == len(self.rule.names)
            return written[position] if alike else f"argument {position}"
        numbered = re.match(r"(\w+)\[(\d+)\](.*)$", name)
        if numbered and numbered[1] not in written and int(numbered[2]) < len(written):
            # The rule takes `*args` or `primals`: the function itself says what they are called.
            return written[int(numbered[2])] + numbered[3]
        return name

    @property
    def source(self) -> Source | None:
        if not self.rule.file:
            return None
        return source_at((self.rule.file, _definition(self.rule.file, self.rule.line)))


def find_rule_calls(body: Body, weights: int) -> tuple[RuleCall, ...]:
    """In program order; the first `weights` inputs are the parameters, the first output is the loss."""
    reach, needed = Reach(), Needed()
    walk(reach, body, [int(i < weights) for i in range(len(body.jaxpr.invars))], ())
    needed.run(body, [i == 0 for i in range(len(body.jaxpr.outvars))])
    found = []
    for path, eqn, looped, around in _equations(body, (), False, None):
        rule = jaxprs.custom_rule(eqn)
        if rule is not None:
            reached = tuple(map(bool, reach.ins.get(path, [1] * len(eqn.invars))))
            wanted = tuple(needed.outs.get(path, [around is not None] * len(eqn.outvars)))
            found.append(RuleCall(path, eqn, rule, looped, around, reached, wanted))
    return tuple(found)


def count_rules(body: Body, weights: int) -> int:
    """Custom rules of the user on the way of a gradient, those of one function counted once."""
    rules = (jaxprs.custom_rule(eqn) for _, eqn, _, _ in _equations(body, (), False, None))
    if not any(rule is not None and rule.file and jaxprs.is_user_file(rule.file) for rule in rules):
        return 0  # JAX's own are in nearly every program: only for a user's is the program followed.
    calls = find_rule_calls(body, weights)
    return len({call.rule.key for call in calls if call.is_users and any(call.reached) and any(call.needed)})


def _equations(
    body: Body, path: Path, looped: bool, around: str | None
) -> Iterator[tuple[Path, JaxprEqn, bool, str | None]]:
    for index, eqn in enumerate(body.eqns):
        at = (*path, index)
        yield at, eqn, looped, around
        entered, carried = entries(eqn), inside(eqn)
        bodies = [entry.body for entry in entered] or jaxprs.inner_bodies(eqn)
        again = looped or (carried is not None and carried.loop is not None)
        opaque = around if entered else around or eqn.primitive.name
        for number, below in enumerate(bodies):
            yield from _equations(below, (*at, number), again, opaque)


def _size(aval: Any) -> int:
    return int(getattr(aval, "size", 0))


def _definition(file: str, line: int) -> int:
    """The line of the `def` below the decorators at `line`."""
    if linecache.getline(file, line).lstrip().startswith("@"):
        for ahead in range(1, _DECORATORS):
            if re.match(r"\s*(async\s+)?def\s", linecache.getline(file, line + ahead)):
                return line + ahead
    return line


_DECORATORS = 12


def _parameters(rule: CustomRule) -> list[str]:
    """From the text of the definition."""
    line = _definition(rule.file, rule.line)
    text = "".join(linecache.getline(rule.file, line + ahead) for ahead in range(_DECORATORS))
    found = re.match(r"\s*(?:async\s+)?def\s+\w+\s*\(([^()]*)\)", text)
    if rule.function == "<lambda>":
        found = re.search(r"lambda ([\w\s,]*):", text)
    names = [re.split(r"[:=]", each)[0].strip() for each in found[1].split(",")] if found else []
    return [name for name in names if name.isidentifier()]
