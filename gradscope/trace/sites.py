"""What the dataflow analysis says of a program: values, sites, and the plan of where to tap.

A `Plan` mirrors the nesting of the program: one plan for each place from which a jaxpr is entered, so a
function called twice has two plans and its sites are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn

from gradscope.trace.choices import Look
from gradscope.trace.tracks import NOTHING, Tracks, common


def members_of(bits: int) -> Iterator[int]:
    """The numbers in a set of bits, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class Axis(NamedTuple):
    """A leading axis of a site's statistics: the steps of a loop around it, or the devices of a mesh."""

    length: int
    reverse: bool = False
    devices: bool = False
    loop: int = 0
    """Tells one loop from another."""


class Kind(Enum):
    """What a value is made of."""

    CONSTANT = "constant"
    """Literals and what is computed from them alone."""
    WEIGHT = "weight"
    """A function of parameter leaves (and constants) alone: a view, a cast, a normalized weight."""
    DATA = "data"


@dataclass(eq=False)
class Site:
    """A value of the forward computation at which the value and its δ are measured."""

    id: int
    bit: int
    eqn: JaxprEqn | None
    """Where the parameters are multiplied in: names the line; `None` for a loop's carried state."""
    calls: tuple[JaxprEqn, ...]
    """The equations around it, innermost first."""
    leaves: int
    """Bits of the parameter leaves that are consumed here."""
    op: str
    depth: int
    lead: tuple[Axis, ...]
    """The loops and meshes around it, from the outermost."""
    constants: int = 0
    """Those of them that are applied as numbers are, and not as a weight or a bias: a log of a deviation, a
    temperature."""
    places: Tracks = field(default_factory=dict)
    """From which place along an axis of its leaves the weights come, by element of its statistics."""
    spread: Tracks = field(default_factory=dict)
    """The same by element of the value: axes along which weights may stand side by side."""
    members: tuple[int, ...] = ()
    """Axes of the value whose elements belong to a layer each, and that the statistics keep."""
    strides: dict[int, int] = field(default_factory=dict)
    """Depth added by each step of a loop over layers."""
    live: bool = True
    """A gradient of the loss comes back to it."""
    backward: bool = False
    """Inside a gradient that the user's loss itself takes."""
    weight: tuple[int, ...] = ()
    """Shape of its largest weight, less axes of length one."""
    beside: int = 0
    """Axes of that weight that go along with those of other leaves, as the members of an ensemble do."""
    fan_in: int | None = None
    activation: str | None = None
    gates: bool = False
    """What the activation function makes of it is multiplied by other data."""
    dtype: Any = None
    value: tuple[int, ...] = ()
    """Shape of the value itself."""
    position: int = 0
    """Which output of its equation it is."""
    outputs: dict[int, int] = field(default_factory=dict)
    """Bits of the other outputs it could be, for an opaque equation with several."""
    moved: bool = False
    """Taken on from where the weight met the data: past a bias, a sum, a collective."""
    replaced: int = 0
    """Bits of the sites from which it was taken on."""
    home: tuple[Plan, int] | None = None
    path: tuple[int, ...] = ()
    """Places of the equations around it and of its own, from the outermost; below 0 for a loop: -1 is the
    first of `lead`. Sites are executed in the order of these, with the step in the place of the loop."""

    @property
    def applies(self) -> bool:
        """It has a weight, and not only constants."""
        return bool(self.leaves & ~self.constants)

    def reaches(self, bits: int) -> bool:
        return any(bit & bits for bit in (self.bit, *self.outputs.values()))

    def settle_on(self, bits: int) -> None:
        """Stand at the first output that is among these bits, where the one it has is not."""
        if not self.bit & bits:
            self.position = next((p for p, bit in self.outputs.items() if bit & bits), self.position)
            self.spread = NOTHING

    @property
    def units(self) -> tuple[int, ...]:
        """Axes of the value along which its weights change and that are no members: units, channels."""
        own = (t for (leaf, _), t in self.spread.items() if leaf >= 0 and self.leaves >> leaf & 1)
        along = {axis for track in own for axis, size in enumerate(track.shape[len(self.lead) :]) if size > 1}
        return tuple(sorted(along - {*self.members}))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its statistics: a loop or a mesh each, and then what stands side by side."""
        return (*(axis.length for axis in self.lead), *(self.value[axis] for axis in self.members))


@dataclass(frozen=True)
class CutSite:
    """An equation that passes values of `leaves` on without their gradient."""

    bit: int
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    leaves: int
    on_weight: bool


class Measure(Enum):
    """How far an operand is from where an operation stops being finite."""

    ZERO = "zero"
    """|x|"""
    ONE = "one"
    """1 - |x|"""
    MINUS_ONE = "minus one"
    """1 + x"""
    OVERFLOW = "overflow"
    """What is left below the largest exponent that the dtype holds."""
    ORIGIN = "origin"
    """The larger of |x| and |y|."""


@dataclass(frozen=True)
class Probe:
    """Operands of an equation that are measured as they go in: their distance to a dangerous point."""

    id: int
    """Below 0: it shares the numbering of the sites."""
    measure: Measure | None
    """`None` where it is no distance, but a `look`."""
    operands: tuple[Any, ...]
    """The variables, before they are broadcast."""
    lead: tuple[Axis, ...]
    limit: float = 0.0
    """For an overflow: the largest exponent."""
    places: tuple[tuple[int, int], ...] = ()
    """Where the operands are read: an equation, and its operand; empty where not known."""
    look: Look | None = None


@dataclass(eq=False)
class Plan:
    """Where to tap in one jaxpr, and the plans of the jaxprs that its equations carry."""

    lead: tuple[Axis, ...] = ()
    taps: dict[int, Site] = field(default_factory=dict)
    """Equation index to the site at its first floating output."""
    entry: dict[int, Site] = field(default_factory=dict)
    """Carry index to the site at the state that enters a loop's step."""
    shared: dict[int, int] = field(default_factory=dict)
    """Of a loop over time: input of its step to the bits of the leaves it is made of, for what each step
    takes alike and is a function of leaves alone."""
    probes: dict[int, Probe] = field(default_factory=dict)
    """Equation index to what is measured of its operands."""
    indexed: Kind | None = None
    """What is taken apart by a running index: weights in a loop over layers, data in a loop over time."""
    inner: dict[tuple[int, int], Plan] = field(default_factory=dict)
    """(equation index, number of the jaxpr in it) to its plan."""

    def enter(self, index: int, number: int = 0, axis: Axis | None = None) -> Plan:
        """The plan of a carried jaxpr, made on the first visit; its taps are planned afresh."""
        lead = self.lead if axis is None else (*self.lead, axis)
        plan = self.inner.setdefault((index, number), Plan(lead))
        plan.clear()
        return plan

    def clear(self) -> None:
        self.taps.clear()
        self.entry.clear()
        self.shared.clear()
        self.indexed = None
        for plan in self.inner.values():
            plan.clear()

    def sites(self) -> Iterator[Site]:
        """Every site in and below this plan, in the order of execution."""
        yield from self.entry.values()
        places = {(index, len(self.inner)): [site] for index, site in self.taps.items()}
        nested = {place: plan.sites() for place, plan in self.inner.items()}
        for place in sorted({*places, *nested}):
            yield from nested.get(place, ())
            yield from places.get(place, ())

    def note_paths(self, around: tuple[int, ...] = ()) -> None:
        """Tell every site where it stands."""
        for index, site in self.taps.items():
            site.path = (*around, index, len(self.inner))
        for (index, number), plan in self.inner.items():
            steps = [-1 - axis for axis in range(len(self.lead), len(plan.lead))]
            plan.note_paths((*around, index, number, *steps))

    def indexes(self, kind: Kind) -> bool:
        """Here, or in a function that is called from here."""
        return self.indexed is kind or any(plan.indexes(kind) for plan in self.inner.values())

    def all_probes(self) -> Iterator[Probe]:
        """Every probe in and below this plan."""
        yield from self.probes.values()
        for plan in self.inner.values():
            yield from plan.all_probes()

    def keep_only(self, wanted: set[int]) -> None:
        """Drop the sites whose id is not wanted."""
        self.taps = {index: site for index, site in self.taps.items() if site.id in wanted}
        self.entry = {index: site for index, site in self.entry.items() if site.id in wanted}
        for plan in self.inner.values():
            plan.keep_only(wanted)

    @property
    def empty(self) -> bool:
        return next(self.sites(), None) is None and next(self.all_probes(), None) is None


@dataclass(frozen=True, slots=True)
class Value:
    """What the analysis knows of one variable. Sets are bits of Python integers."""

    kind: Kind = Kind.CONSTANT
    reads: int = 0
    """Leaves, sites, cuts and inputs that the value depends on in any way."""
    grad: int = 0
    """The same, through operations that pass a gradient on."""
    leaves: int = 0
    """For a weight: the leaves it is a function of."""
    shape: tuple[int, ...] = ()
    """For a weight: the shape of its largest leaf, less axes of length one."""
    plain: bool = False
    """The leaf itself, or a part of it: no function of it."""
    reduced: bool = False
    """A scalar made of a larger leaf, as in a penalty: no longer a weight that a layer applies."""
    tracks: Tracks = field(default_factory=lambda: NOTHING)
    """From where in its leaves each part of a weight comes; of data, axes that a stack of weights gave it."""
    site: Site | None = None
    """That whose value this is, up to reshaping and casting."""
    whole: bool = True
    """All of its elements, not a slice of them."""
    scaled: bool = False
    """The site's value times numbers that come from elsewhere: a gate."""
    local: int = 0
    """Sites upstream within the same step of the loop."""
    depth: int = 0

    def is_weight(self) -> bool:
        return self.kind is Kind.WEIGHT and not self.reduced

    def across(self, **changes: Any) -> Value:
        """The value seen from the other side of a loop or a branch: no longer the site itself."""
        return replace(self, site=None, **changes)


def join(values: list[Value]) -> Value:
    """What is known of a value that may be any of these, or is made of all of them."""
    kinds = {v.kind for v in values}
    kind = Kind.DATA if Kind.DATA in kinds else Kind.WEIGHT if Kind.WEIGHT in kinds else Kind.CONSTANT
    reads = grad = leaves = local = depth = 0
    for v in values:
        reads, grad, leaves, local = reads | v.reads, grad | v.grad, leaves | v.leaves, local | v.local
        depth = max(depth, v.depth)
    weights = [v for v in values if v.kind is Kind.WEIGHT]
    return Value(
        kind, reads, grad, leaves if kind is Kind.WEIGHT else 0,
        shape=max((v.shape for v in weights), key=len, default=()),
        plain=bool(values) and all(v.plain for v in values),
        reduced=bool(weights) and all(v.reduced for v in weights),
        tracks=common([v.tracks for v in values]) if values else NOTHING,
        local=local, depth=depth,
    )  # fmt: skip
