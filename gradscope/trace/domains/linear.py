"""Which values are an affine function of the batch, and through how many layers: a chain of them is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace.domains.located import Located, Place
from gradscope.trace.domains.objective.affine import LINEAR
from gradscope.trace.program import Program
from gradscope.trace.sites import Site
from gradscope.trace.vocabulary import PARTS, PRODUCTS, is_real
from gradscope.trace.walk import Visit, walk

MOST = 8
"""Layers in a chain that are told apart: a loop adds one in each turn."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What is known of one value."""

    data: bool = False
    """It depends on the batch."""
    weight: bool = False
    bent: bool = False
    """It is no affine function of the batch."""
    layers: int = 0
    """Products with weights on the longest way to it."""
    sites: int = 0
    """Bits of the sites on all ways."""


NUMBER = Chain()


class Linearity(Located[Chain]):
    """The state of one walk."""

    def __init__(self) -> None:
        self.at: dict[int, Chain] = {}

    def literal(self, atom: Any, place: Place) -> Chain:
        return NUMBER

    def constant(self, value: Any, place: Place) -> Chain:
        return NUMBER

    def at_site(self, value: Chain, site: int) -> Chain:
        found = replace(value, sites=value.sites | 1 << site) if value.data else value
        self.at[site] = self.join([found, self.at.get(site, found)])
        return found

    def join(self, values: list[Chain]) -> Chain:
        sites = 0
        for value in values:
            sites |= value.sites
        return Chain(
            any(value.data for value in values),
            any(value.weight for value in values),
            any(value.bent for value in values),
            max((value.layers for value in values), default=0),
            sites,
        )

    def leaving(self, visit: Visit[Chain, Place], carried: list[Chain], outs: list[Chain]) -> list[Chain]:
        if visit.inside.own_rule:
            return [replace(out, bent=out.bent or out.data) for out in outs]
        return super().leaving(visit, carried, outs)

    def plain(self, eqn: JaxprEqn, values: list[Chain], place: Place, index: int) -> list[Chain]:
        del place, index
        found = _of_equation(eqn.primitive.name, values, self.join(values))
        return [found if is_real(var.aval) else replace(found, bent=found.data) for var in eqn.outvars]


def _of_equation(name: str, ins: Sequence[Chain], found: Chain) -> Chain:
    if name in PRODUCTS and len(ins) == 2 and ins[0].data != ins[1].data:
        return replace(found, layers=min(found.layers + any(each.weight for each in ins), MOST))
    bent = found.bent
    if name in LINEAR or not found.data:
        pass
    elif name == "mul" or name in PRODUCTS:
        bent = bent or sum(each.data for each in ins) > 1
    elif name == "div":
        bent = bent or ins[1].data
    elif name in PARTS and ins[0].data:
        bent = bent or any(each.data for each in ins[1:])
    elif name in PARTS:
        bent = False
    elif name == "select_n":
        bent = bent or ins[0].data
    else:
        bent = True
    return replace(found, bent=bent)


def linear_chain(program: Program, inputs: int) -> tuple[Site, ...]:
    """The sites of products from the batch to the last one, in forward order, where they are one affine
    function; none where something else stands between them. `inputs` counts those of the program that are no
    data: parameters, and other arrays beside them."""
    domain, weights = Linearity(), len(program.leaves)
    variables = program.body.jaxpr.invars
    values = [
        Chain(weight=True) if i < weights else Chain(data=inputs <= i < len(variables) - 1)
        for i in range(len(variables))
    ]
    walk(domain, program.body, values, program.plan)
    products = [site for site in program.sites if site.op in PRODUCTS and site.live and not site.backward]
    if not products:
        return ()
    last = max(products, key=lambda site: site.depth)
    end = domain.at.get(last.id, NUMBER)
    if not end.data or end.bent or end.layers < 2:
        return ()
    return tuple(site for site in products if end.sites >> site.id & 1)
