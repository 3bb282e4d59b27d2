"""A problem becomes a program: its jaxpr, its sites and layers, and how each leaf reaches the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.load.problem import Problem
from gradscope.load.usercode.user_code import user_code
from gradscope.records import Connection, Cut, Skipped, Source
from gradscope.trace import jaxprs
from gradscope.trace.connections import connections_of
from gradscope.trace.cuts import blocking_cuts, integer_leaves
from gradscope.trace.dataflow import Flow
from gradscope.trace.graph import Graph
from gradscope.trace.interpret import Found, Slot, Taps, evaluate
from gradscope.trace.jaxprs import Body
from gradscope.trace.layers import LayerGroup, group
from gradscope.trace.leaves import Leaf, leaves_of, split
from gradscope.trace.loops import Loop, loops_of
from gradscope.trace.returned import arrays, names, scalar
from gradscope.trace.sites import CutSite, Kind, Plan, Site, Value, join, members_of
from gradscope.trace.sources import sources_of
from gradscope.trace.statistics import FLOW, Selection, Stats, entry_shape, stats_dtype
from gradscope.trace.unseen import unseen
from gradscope.trace.work import operations


@dataclass(frozen=True)
class Inputs:
    """The arrays of one batch in the order in which the program takes them."""

    weights: list[Any]
    """The differentiated leaves."""
    others: list[Any]
    """The other arrays of params, those of the batch, and the key."""


@dataclass(frozen=True)
class Program:
    """The traced loss. `tapped` runs it with taps; the plan says where they are."""

    body: Body
    plan: Plan
    leaves: tuple[Leaf, ...]
    layers: tuple[LayerGroup, ...]
    sources: tuple[Source | None, ...]
    """The user's line of each layer."""
    sites: tuple[Site, ...]
    """Every site that is tapped, in the order of execution."""
    connections: tuple[Connection, ...]
    cuts: tuple[tuple[Cut, ...], ...]
    cut_sites: tuple[CutSite, ...]
    """Every operation without a gradient that the loss reads through, also where another path has one."""
    loops: tuple[Loop, ...]
    unseen: tuple[Skipped, ...]
    aux: tuple[str, ...] = ()
    """Names of the arrays in the auxiliary output, in its order; empty where it was not traced from a
    problem."""

    @cached_property
    def layer_names(self) -> dict[int, str]:
        """By site: the group of layers that it belongs to."""
        return {site.id: layer.name for layer in self.layers for site in layer.sites}

    @cached_property
    def graph(self) -> Graph:
        """Of its values, made once for all that read it."""
        return Graph(self.body, len(self.leaves))

    @cached_property
    def operations(self) -> float:
        """Of one run of the loss, estimated from its shapes."""
        return operations(self.body)

    def sinks(self, selection: Selection = FLOW) -> dict[int, Stats]:
        """Zeros for each site and step, one for each statistic of δ."""
        return {site.id: self._sink(site, selection) for site in self.sites}

    def _sink(self, site: Site, selection: Selection) -> Stats:
        lead, dtype = [axis.length for axis in site.lead], stats_dtype(site.dtype)
        return {
            each.name: jnp.zeros((*lead, *entry_shape(each, site.value, site.members, site.units)), dtype)
            for each in selection.delta
        }

    def gains(self) -> dict[int, Any]:
        """Ones, for the value and for δ at each site and step."""
        return {site.id: np.ones((*site.shape, 2), stats_dtype(site.dtype)) for site in self.sites}

    def tapped(
        self,
        weights: list[Array],
        sinks: dict[int, Stats],
        gains: dict[int, Array],
        others: list[Array],
        consts: list[Array],
        selection: Selection = FLOW,
    ) -> tuple[Array, dict[int, Found]]:
        """The loss, and what was found of the value at each site and of each probe."""
        taps = Taps({site.id: Slot(sinks[site.id], gains[site.id]) for site in self.sites}, selection)
        outs = evaluate(Body(self.body.jaxpr, consts), [*weights, *others], self.plan, taps)
        return outs[0], taps.forward

    def loss(self, weights: list[Array], others: list[Array], consts: list[Array]) -> Array:
        """The loss alone, without taps."""
        outs = evaluate(Body(self.body.jaxpr, consts), [*weights, *others], Plan(), Taps({}))
        return jnp.asarray(outs[0])

    def without_taps(self, reason: str) -> Program:
        """The same loss with nothing measured but its gradients."""
        layers = group(self.leaves, [])
        return replace(
            self,
            plan=Plan(),
            layers=tuple(layers),
            sources=tuple(sources_of(layers)),
            sites=(),
            loops=(),
            unseen=(*self.unseen, Skipped("activations and δ of every layer", reason)),
        )

    def differentiate_plain(self, inputs: Inputs) -> None:
        """Differentiate the user's program by JAX alone, without running it: raises what JAX raises at it."""
        run = jaxprs.compiled(self.body)
        jax.jit(jax.grad(lambda weights: run(*weights, *inputs.others)[0])).lower(inputs.weights)


class Tracer:
    """Holds what is static of a problem, so that its batches can be turned into inputs again and again."""

    def __init__(self, problem: Problem, prepare: Callable[[Any], Any] = lambda tree: tree) -> None:
        """`prepare` is applied to the params and to every batch: to trace them in another precision."""
        self._problem, self._prepare = problem, prepare
        params = prepare(problem.params)
        self._params = split(params)
        self._leaves = leaves_of(params, problem.kinds)
        self._aux: tuple[str, ...] = ()

    def inputs(self, batch: Any, draw: int = 0, key: Any = None) -> Inputs:
        """`key`: in the place of the one that `draw` would give."""
        traced = self._params.traced
        weights = [leaf for position, leaf in traced.items() if position in self._leaves]
        rest = [leaf for position, leaf in traced.items() if position not in self._leaves]
        drawn = split(self._prepare(batch)).traced.values()
        return Inputs(weights, [*rest, *drawn, self._problem.key(draw) if key is None else key])

    def body(self, batch: Any) -> Body:
        """The loss at the shapes of `batch`, as JAX traces it."""
        inputs, cut = self.inputs(batch), split(self._prepare(batch))
        weights = len(inputs.weights)

        def loss(*args: Any) -> tuple[Any, list[Any]]:
            params = self._join(args[:weights], args[weights : weights + self._rest])
            value, aux = self._problem.loss(params, cut.join(args[weights + self._rest : -1]), args[-1])
            self._aux = names(aux)
            return scalar(value, self._problem.name), arrays(aux)

        with user_code(f"tracing {self._problem.name}"):
            return jaxprs.body_of(jax.make_jaxpr(loss)(*inputs.weights, *inputs.others))

    def trace(self, batch: Any) -> Program:
        """Trace the loss at the shapes of `batch`, and find its sites, layers and connections."""
        cut, body = split(self._prepare(batch)), self.body(batch)
        # Only now are the classes of modules known that the loss calls.
        leaves = leaves_of(self._prepare(self._problem.params), self._problem.kinds)
        called = Names(self._problem.root, integer_leaves(batch))
        of_batch = [*[False] * self._rest, *[True] * len(cut.traced), False]
        return replace(program_of(body, tuple(leaves.values()), of_batch, called), aux=self._aux)

    def tree(self, leaves: Sequence[Any]) -> Any:
        """Values of the differentiated leaves in the structure of params; the other leaves are `None`."""
        values = iter(leaves)
        count = self._params.structure.num_leaves
        return jax.tree.unflatten(
            self._params.structure, [next(values) if i in self._leaves else None for i in range(count)]
        )

    def packed(self, leaves: Sequence[Any]) -> Any:
        """The same, as the user's optimizer gets them: a module, a `State`."""
        return self._problem.packed(self.tree(leaves))

    def unpacked(self, packed: Any) -> list[Any]:
        """The values that stand in a tree that `packed` gave, or one of its structure."""
        places = jax.tree.leaves(self.packed(range(len(self._leaves))))
        ordered = dict(zip(places, jax.tree.leaves(packed), strict=True))
        return [ordered[place] for place in range(len(places))]

    @property
    def _rest(self) -> int:
        return len(self._params.traced) - len(self._leaves)

    def _join(self, weights: Any, rest: Any) -> Any:
        parts = iter(weights), iter(rest)
        return self._params.join(
            [next(parts[0] if i in self._leaves else parts[1]) for i in self._params.traced]
        )


@dataclass(frozen=True)
class Names:
    """What the user calls things."""

    root: str
    """The params as a whole."""
    integers: dict[str, str]
    """Each array of integers in the batch, and its dtype."""


def program_of(
    body: Body,
    leaves: tuple[Leaf, ...],
    of_batch: Sequence[bool],
    names: Names,
    *,
    closes_over_data: bool = False,
) -> Program:
    """The program of a traced loss; `of_batch` tells of each of its inputs after the leaves whether it is
    data. What the loss closes over is data, too, where no input is."""
    flow = Flow(
        [leaf.shape for leaf in leaves],
        lambda a, b: _share_parent(leaves, a, b),
        made_inputs=not any(of_batch),
    )
    plan = Plan()
    data = Value(Kind.DATA, flow.batch, flow.batch)
    closed_over = data if closes_over_data or not any(of_batch) else None
    outs = flow.walk(body, _input_values(flow, leaves, of_batch), plan, closed_over)
    plan.note_paths()
    loss, aux = outs[0], join(outs[1:])
    connections = connections_of(flow, len(leaves), [site.leaves for site in plan.sites()], loss, aux)
    reaching = [site for site in plan.sites() if site.op == "state" or site.reaches(loss.reads)]
    for site in reaching:
        site.live = site.op == "state" or site.reaches(loss.grad)
        site.settle_on(loss.grad if site.live else loss.reads)
        flow.stacks.settle(site)
    layers = group(leaves, [site for site in reaching if site.op != "state"], names.root)
    sources = tuple(sources_of(layers, list(plan.sites())))
    kept = {site.id for layer in layers for site in layer.sites}
    plan.keep_only(kept | {site.id for site in reaching if site.op == "state"})
    _drop_idle_states(plan)
    cut_sites = tuple(cut for cut in flow.cuts.values() if cut.bit & loss.reads)
    return Program(
        body=body,
        plan=plan,
        leaves=leaves,
        layers=tuple(layers),
        sources=sources,
        sites=tuple(plan.sites()),
        connections=connections,
        cuts=blocking_cuts(body, cut_sites, connections, names.integers),
        cut_sites=cut_sites,
        loops=loops_of(body, plan),
        unseen=unseen(flow),
    )


def _share_parent(leaves: tuple[Leaf, ...], a: int, b: int) -> bool:
    return not _parents(leaves, a).isdisjoint(_parents(leaves, b))


def _parents(leaves: tuple[Leaf, ...], bits: int) -> set[str]:
    return {leaves[leaf].parent for leaf in members_of(bits)}


def _input_values(flow: Flow, leaves: tuple[Leaf, ...], of_batch: Sequence[bool]) -> list[Value]:
    weights = []
    for i, leaf in enumerate(leaves):
        bit, shape = 1 << i, tuple(size for size in leaf.shape if size > 1)
        weights.append(Value(Kind.WEIGHT, bit, bit, bit, shape, True, tracks=flow.stacks.tracks_of(i)))
    data, other = Value(Kind.DATA, flow.batch, flow.batch), Value(Kind.DATA)
    return [*weights, *[data if each else other for each in of_batch]]


def _drop_idle_states(plan: Plan) -> None:
    """The state of a loop is measured only where a layer inside the loop is."""
    for inner in plan.inner.values():
        _drop_idle_states(inner)
    if plan.entry and all(site.op == "state" for site in plan.sites()):
        plan.clear()
