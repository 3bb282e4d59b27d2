"""Random draws whose key is a constant of the program, and what they go into.

Such a key is made of numbers that the program writes or closes over alone: nothing of it comes from the
parameters, from the batch, from a state beside them or from the key that the loss is given. A closed-over
array of which the program makes a new state (a counter of draws) is no constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.bits import Bits
from gradscope.trace.domains.located import plan_at
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.jaxprs import Body
from gradscope.trace.sites import Plan
from gradscope.trace.walk import Path, Visit, walk

DRAWS = frozenset({"random_bits", "random_gamma"})
"""Primitives that make numbers of a key: all functions of `jax.random` end in them."""
_SEED = "random_seed"
VARIES = 1
"""The bit of what may be another value at another step."""


Made = tuple[JaxprEqn, tuple[JaxprEqn, ...]]
"""An equation and those around it, innermost first."""


@dataclass(frozen=True)
class Draw:
    """An equation that draws."""

    path: Path
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    """The equations around it, innermost first."""
    shape: tuple[int, ...]
    site: int | None
    """The first layer whose output depends on it; `None` where it meets the loss behind all layers."""
    seed: Made | None
    """The equation that makes its key of a number, and those around; `None` where the key is closed over."""


class Draws(Bits):
    """One walk: bits of inputs, of constants and of draws."""

    def __init__(self, consts: int, plan: Plan) -> None:
        self._consts, self._plan = consts, plan
        self._met = 0
        self.keys: dict[Path, int] = {}
        """By draw, the bits of its key."""
        self.bits: dict[Path, int] = {}
        """By draw, its own bit."""
        self.made: dict[Path, Made] = {}
        self.sites: dict[int, int] = {}
        """By bit of a draw, the first layer that it goes into."""

    def constant(self, value: Any, place: Path) -> int:
        if place or self._met >= self._consts:
            return 0
        self._met += 1
        return 1 << self._met

    def enters(self, visit: Visit[int, Path]) -> bool:
        # What stands inside cannot be changed from outside: a rule, or the part of one device.
        return not visit.inside.own_rule and visit.inside.shards is None

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        if eqn.primitive.name in (*DRAWS, _SEED):
            path = (*place, index)
            self.keys[path] = self.keys.get(path, 0) | values[0]
            self.bits.setdefault(path, 1 << (1 + self._consts + len(self.bits)))
            self.made[path] = eqn, self.around[1:]

    @property
    def draws(self) -> list[Path]:
        return sorted(path for path, (eqn, _) in self.made.items() if eqn.primitive.name in DRAWS)

    def seed_of(self, draw: Path) -> Made | None:
        """The first one."""
        seeds = (path for path in self.made if path not in self.draws)
        found = [path for path in seeds if self.keys[draw] & self.bits[path]]
        return self.made[min(found)] if found else None

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        found = self.join(values) | self.bits.get((*place, index), 0)
        return [found] * len(eqn.outvars)

    def after(self, eqn: JaxprEqn, outs: list[int], place: Path, index: int) -> list[int]:
        del eqn
        plan = plan_at(self._plan, place)
        site = plan.taps.get(index) if plan is not None else None
        if site is not None:
            for bit in self.bits.values():
                if any(out & bit for out in outs):
                    self.sites.setdefault(bit, site.id)
        return outs

    def leaving(self, visit: Visit[int, Path], carried: list[int], outs: list[int]) -> list[int]:
        del carried
        chosen = visit.inside.chosen_by
        return outs if chosen is None else [out | visit.values[chosen] for out in outs]


def constant_draws(body: Body, plan: Plan) -> list[Draw]:
    """Those that the loss depends on, in the order of the program."""
    if not jaxprs.has_primitive(body, DRAWS):
        return []
    domain = Draws(len(body.consts), plan)
    loss, *aux = walk(domain, body, [VARIES] * len(body.jaxpr.invars), ())
    states = domain.join([out for out in aux if not out & VARIES])
    changing = VARIES | (states & ((2 << len(body.consts)) - 1))
    return [
        Draw(
            path=path,
            eqn=domain.made[path][0],
            calls=domain.made[path][1],
            shape=shape_of(domain.made[path][0].outvars[0]),
            site=domain.sites.get(domain.bits[path]),
            seed=domain.seed_of(path),
        )
        for path in domain.draws
        if loss & domain.bits[path] and not domain.keys[path] & changing
    ]
