"""Random programs, and the slow, obvious way to run them.

A program is a tree of blocks; each block runs in two ways. `fast` is what a user would write: `lax.scan`,
`jax.jit`, `jax.checkpoint`, `lax.cond`. `slow` is plain Python without any of these, with an explicit zero
added to the output of every dense layer and to every carried state: the gradient with respect to those
zeros is δ by definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax import Array, lax

WIDTH, ROWS = 4, 8


@dataclass
class Notes:
    """Where the slow run adds its zeros; `values[name][use]` is the value there."""

    zeros: dict[str, list[Any]] | None = None
    values: dict[str, list[Any]] = field(default_factory=dict)

    def at(self, name: str, value: Array) -> Array:
        uses = self.values.setdefault(name, [])
        uses.append(value)
        return value if self.zeros is None else value + self.zeros[name][len(uses) - 1]


class Block:
    def fast(self, params: Any, x: Array) -> Array:
        raise NotImplementedError

    def slow(self, params: Any, x: Array, notes: Notes) -> Array:
        raise NotImplementedError

    def denses(self) -> list[Dense]:
        raise NotImplementedError


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "identity": lambda x: x,
}


@dataclass(eq=False)
class Dense(Block):
    """`act(x @ w + b)`; `stacked` layers share one array, scanned over or indexed by a counter."""

    activation: str
    name: str = ""
    stacked: int | None = None
    indexed: bool = False

    def fast(self, params: Any, x: Array) -> Array:
        act = ACTIVATIONS[self.activation]
        mine = params[self.name]
        if self.stacked is None:
            return act(x @ mine["w"] + mine["b"])

        def layer(x: Array, row: Any) -> tuple[Array, None]:
            return act(x @ row["w"] + row["b"]), None

        if self.indexed:
            rows = lambda i: jax.tree.map(lambda leaf: leaf[i], mine)  # noqa: E731
            return lax.fori_loop(0, self.stacked, lambda i, x: layer(x, rows(i))[0], x)
        return lax.scan(layer, x, mine)[0]

    def slow(self, params: Any, x: Array, notes: Notes) -> Array:
        act = ACTIVATIONS[self.activation]
        mine = params[self.name]
        if self.stacked is None:
            return act(notes.at(self.name, x @ mine["w"] + mine["b"]))
        for i in range(self.stacked):
            x = act(notes.at(f"{self.name}[{i}]", x @ mine["w"][i] + mine["b"][i]))
        return x

    def denses(self) -> list[Dense]:
        return [self]


@dataclass(eq=False)
class Chain(Block):
    parts: list[Block]

    def fast(self, params: Any, x: Array) -> Array:
        for part in self.parts:
            x = part.fast(params, x)
        return x

    def slow(self, params: Any, x: Array, notes: Notes) -> Array:
        for part in self.parts:
            x = part.slow(params, x, notes)
        return x

    def denses(self) -> list[Dense]:
        return [dense for part in self.parts for dense in part.denses()]


@dataclass(eq=False)
class Around(Block):
    """A transformation that leaves the mathematics of its part alone."""

    how: str
    part: Block

    def fast(self, params: Any, x: Array) -> Array:
        run = lambda params, x: self.part.fast(params, x)  # noqa: E731
        if self.how == "jit":
            return jax.jit(run)(params, x)
        if self.how == "remat":
            return jax.checkpoint(run)(params, x)
        if self.how == "remat-dots":
            return jax.checkpoint(run, policy=jax.checkpoint_policies.dots_saveable)(params, x)
        if self.how == "vmap":
            return jax.vmap(lambda row: run(params, row[None])[0])(x)
        if self.how == "residual":
            return x + run(params, x)
        if self.how == "custom_vjp":
            return run(params, _clip_gradient(x))
        if self.how == "custom_jvp":
            return _halve(run(params, x))
        if self.how == "while":
            return run(params, x) + _count_down(x)
        raise AssertionError(self.how)

    def slow(self, params: Any, x: Array, notes: Notes) -> Array:
        if self.how == "residual":
            return x + self.part.slow(params, x, notes)
        if self.how == "custom_vjp":
            return self.part.slow(params, _clip_gradient(x), notes)
        if self.how == "custom_jvp":
            return self.part.slow(params, x, notes) / 2
        if self.how == "while":
            return self.part.slow(params, x, notes) + _count_down(x)
        return self.part.slow(params, x, notes)

    def denses(self) -> list[Dense]:
        return self.part.denses()


@jax.custom_vjp
def _clip_gradient(x: Array) -> Array:
    return x


_clip_gradient.defvjp(lambda x: (x, None), lambda _, ct: (jnp.clip(ct, -1e-2, 1e-2),))


@jax.custom_jvp
def _halve(x: Array) -> Array:
    return x / 2


_halve.defjvp(lambda primals, tangents: (primals[0] / 2, tangents[0] / 2))


def _count_down(x: Array) -> Array:
    """A loop that only runs forward: how often the values can be halved before they are small."""
    start = lax.stop_gradient(jnp.abs(x).max())
    return lax.while_loop(lambda s: s > 0.5, lambda s: s / 2, start)


@dataclass(eq=False)
class Branch(Block):
    """`lax.cond` or `lax.switch`; the branch is chosen from the data."""

    ways: list[Block]
    taken: int

    def fast(self, params: Any, x: Array) -> Array:
        index = jnp.where(jnp.isfinite(x.sum()), self.taken, 0)
        ways = [way.fast for way in self.ways]
        if len(ways) == 2:
            return lax.cond(index == 1, ways[1], ways[0], params, x)
        return lax.switch(index, ways, params, x)

    def slow(self, params: Any, x: Array, notes: Notes) -> Array:
        return self.ways[self.taken].slow(params, x, notes)

    def denses(self) -> list[Dense]:
        return [dense for way in self.ways for dense in way.denses()]


@dataclass(eq=False)
class Loop(Block):
    """A recurrence: the state goes through `part` at every step, with or without an input."""

    part: Block
    length: int
    kind: str
    name: str = ""

    def fast(self, params: Any, x: Array) -> Array:
        if self.kind == "fori":
            return lax.fori_loop(0, self.length, lambda _, h: self.part.fast(params, h), x)
        inputs = None if self.kind == "no-input" else _inputs(self.length)

        def step(h: Array, u: Any) -> tuple[Array, Array]:
            h = self.part.fast(params, h if u is None else h + u)
            return h, h.mean(axis=-1, keepdims=True)

        reverse = self.kind == "reverse"
        h, means = lax.scan(step, x, inputs, self.length, reverse=reverse)
        return h + means.mean(axis=0)

    def slow(self, params: Any, x: Array, notes: Notes) -> Array:
        order = range(self.length)
        inputs = _inputs(self.length)
        means = []
        h = x
        for t in reversed(order) if self.kind == "reverse" else order:
            h = notes.at(self.name, h)
            h = self.part.slow(params, h if self.kind in ("fori", "no-input") else h + inputs[t], notes)
            means.append(h.mean(axis=-1, keepdims=True))
        return h if self.kind == "fori" else h + jnp.stack(means).mean(axis=0)

    def denses(self) -> list[Dense]:
        return self.part.denses()


def _inputs(length: int) -> Array:
    return jnp.sin(jnp.arange(length * WIDTH, dtype=jnp.float32)).reshape(length, WIDTH)


@dataclass
class Sample:
    """A drawn program, its parameters and its batch."""

    block: Block
    params: Any
    batch: Any
    loops: list[Loop]

    def loss_fn(self, params: Any, batch: Any) -> Array:
        x, y = batch
        return jnp.mean((self.block.fast(params, x) - y) ** 2)

    def slow_loss(self, params: Any, zeros: Any, batch: Any) -> tuple[Array, Notes]:
        x, y = batch
        notes = Notes(zeros)
        return jnp.mean((self.block.slow(params, x, notes) - y) ** 2), notes

    def deltas(self) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Values and δ by layer and by loop, one array for each use."""
        values = self.slow_loss(self.params, None, self.batch)[1].values
        zeros = jax.tree.map(jnp.zeros_like, values)
        deltas = jax.grad(lambda z: self.slow_loss(self.params, z, self.batch)[0])(zeros)
        return values, deltas


AROUND = ["jit", "remat", "remat-dots", "vmap", "residual", "custom_vjp", "custom_jvp", "while"]


def blocks(depth: int) -> st.SearchStrategy[Block]:
    activation = st.sampled_from(sorted(ACTIVATIONS))
    leaf: st.SearchStrategy[Block] = st.builds(
        Dense, activation, stacked=st.sampled_from([None, None, 3]), indexed=st.booleans()
    )
    if depth == 0:
        return leaf
    inner = blocks(depth - 1)
    return st.one_of(
        leaf,
        st.builds(Chain, st.lists(inner, min_size=1, max_size=2)),
        st.builds(Around, st.sampled_from(AROUND), inner),
        st.lists(inner, min_size=2, max_size=3).flatmap(
            lambda ways: st.builds(Branch, st.just(ways), st.integers(0, len(ways) - 1))
        ),
        st.builds(
            Loop, inner, st.sampled_from([2, 5]), st.sampled_from(["forward", "reverse", "no-input", "fori"])
        ),
    )


@st.composite
def samples(draw: st.DrawFn, depth: int = 3) -> Sample:
    block = Chain([draw(blocks(depth)), Dense("identity")])
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    params = {}
    for number, dense in enumerate(block.denses()):
        dense.name = f"dense_{number:02d}"
        lead = () if dense.stacked is None else (dense.stacked,)
        params[dense.name] = {
            "w": _normal(rng, (*lead, WIDTH, WIDTH)) / WIDTH**0.5,
            "b": 0.1 * _normal(rng, (*lead, WIDTH)),
        }
    loops = _name_loops(block, [])
    batch = _normal(rng, (ROWS, WIDTH)), _normal(rng, (ROWS, WIDTH))
    return Sample(block, params, batch, loops)


def _normal(rng: Any, shape: tuple[int, ...]) -> Array:
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def _name_loops(block: Block, found: list[Loop]) -> list[Loop]:
    if isinstance(block, Loop):
        block.name = f"loop_{len(found)}"
        found.append(block)
        _name_loops(block.part, found)
    elif isinstance(block, Around):
        _name_loops(block.part, found)
    elif isinstance(block, Chain | Branch):
        for part in block.parts if isinstance(block, Chain) else block.ways:
            _name_loops(part, found)
    return found
