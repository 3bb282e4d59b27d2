"""Where the outputs of the network meet the loss: what comes before is J, what comes behind is H.

Behind the last equation at which parameters meet data nothing but the outputs stands in the way of the loss.
It need not bend up in them there: a squared error behind a sigmoid does in the sigmoid, not in what goes in.
So places behind what bends are tried, too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jax.extend.core import JaxprEqn, Var

from gradscope.landscape.moving import Moving
from gradscope.records import Source
from gradscope.trace.jaxprs import Body
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import NO_GRADIENT, is_real

MOST = 4
"""Places that are tried."""
_BENDS = frozenset(
    {"exp", "exp2", "log", "log1p", "logistic", "tanh", "erf", "pow", "sqrt", "rsqrt", "div", "sin", "cos"}
    | {"custom_jvp_call", "custom_vjp_call", "jit", "pjit", "max", "mul"}
)
_SUMS = frozenset({"add", "sub", "add_any"})


@dataclass(frozen=True)
class OutputSplit:
    """The equations before `index` are the network, the others the loss."""

    index: int
    reads: tuple[Var, ...]
    """What the loss reads of the network and of the parameters themselves, and what moves of it."""
    source: Source | None
    """Of the last equation of the network."""

    @property
    def ends(self) -> Moving:
        """What is read, as one vector."""
        return Moving([var.aval for var in self.reads], range(len(self.reads)))


def splits_of(body: Body, weights: int, moving: Collection[int]) -> tuple[Body, list[OutputSplit]]:
    """The program with all of the network before what is the loss, as a penalty on the parameters, and the
    places to try, in order; none where parameters and data do not meet in an equation of their own.

    `weights` inputs come first, of which those at `moving` move; the last one is a key.
    """
    variables = list(body.jaxpr.invars)
    own = [variables[place] for place in sorted(moving)]
    meetings = _meetings(body, own, set(variables[weights:-1]) or set(body.jaxpr.constvars))
    if not meetings:
        return body, []
    network = _needed_by(body, meetings)
    ordered = [*network, *(index for index in range(len(body.eqns)) if index not in network)]
    body = Body(body.jaxpr.replace(eqns=[body.eqns[index] for index in ordered]), body.consts)
    moves = _moving(body, own)
    bends = (
        index + 1
        for index, eqn in enumerate(body.eqns)
        if index >= len(network) and eqn.primitive.name in _BENDS and not moves.isdisjoint(eqn.outvars)
    )
    places = [len(network), *islice(bends, MOST - 1)]
    found = (_split(body, place, moves) for place in places)
    return body, [split for split in found if split.reads]


def _meetings(body: Body, own: list[Var], data: set[Any]) -> list[int]:
    """The equations at which values of the parameters alone meet what is made of data."""
    learned, meets = set[Any](own), set(data)
    found = []
    for index, eqn in enumerate(body.eqns):
        operands = {atom for atom in eqn.invars if isinstance(atom, Var)}
        if not operands.isdisjoint(meets):
            meets.update(eqn.outvars)
            if not operands.isdisjoint(learned) and not _is_penalty(eqn):
                found.append(index)
        elif not operands.isdisjoint(learned):
            learned.update(eqn.outvars)
    return found


def _needed_by(body: Body, meetings: list[int]) -> dict[int, None]:
    """These equations and those that they need, in order."""
    needed: set[Any] = set()
    found = []
    for index in reversed(range(len(body.eqns))):
        eqn = body.eqns[index]
        if index in meetings or not needed.isdisjoint(eqn.outvars):
            found.append(index)
            needed.update(atom for atom in eqn.invars if isinstance(atom, Var))
    return dict.fromkeys(reversed(found))


def _is_penalty(eqn: JaxprEqn) -> bool:
    """A number of the parameters alone is added to the loss."""
    return eqn.primitive.name in _SUMS and not getattr(eqn.outvars[0].aval, "ndim", 1)


def _moving(body: Body, own: list[Var]) -> set[Any]:
    moves: set[Any] = set(own)
    for eqn in body.eqns:
        operands = [atom for atom in eqn.invars if isinstance(atom, Var)]
        if eqn.primitive.name not in NO_GRADIENT and not moves.isdisjoint(operands):
            moves.update(var for var in eqn.outvars if is_real(var.aval))
    return moves


def _split(body: Body, index: int, moves: set[Any]) -> OutputSplit:
    made = {var for eqn in body.eqns[index:] for var in eqn.outvars}
    reads = {atom: None for eqn in body.eqns[index:] for atom in eqn.invars if isinstance(atom, Var)}
    found = [var for var in reads if var not in made and var in moves]
    return OutputSplit(index, tuple(found), source_of(body.eqns[index - 1]))
