"""Deep stacks without residual connections, and the training with each output added to the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradscope.records import ShortTraining, TriedSkips
from gradscope.trace.changed import Changed
from gradscope.trace.graph import Node
from gradscope.trace.plain_stacks import plain_stack
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import PRODUCTS
from gradscope.trace.walk import Path
from gradscope.training.other_losses import OtherLoss
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER

FEWEST_STEPS = 10
"""Of the short training, for five times as many to tell whether a loss falls."""
FALLEN = 0.5
"""Share of the loss: a short training that ends below it does not call for anything."""
FASTER = 10.0
"""Times each update: where the stack as it is learns so, its rate is too low, and nothing is missing."""


def tried_skips(program: Program, made: Trainer, record: ShortTraining) -> TriedSkips | None:
    """`None` where the program has no such stack, and where the loss falls well."""
    if record.steps < FEWEST_STEPS or made.searches or not record.end > FALLEN * record.start:
        return None
    stack = plain_stack(program)
    if not stack:
        return None
    paths = [node.path for node in stack]
    other = OtherLoss(program, lambda _: _Skipping(paths), made.feed.at(0, made.weights), ())
    count, batches = LONGER * record.steps, record.batches
    there = made.run(count, Modification(loss=lambda inputs, _: other(inputs, ()))).weights
    faster = made.run(count, Modification(factor=FASTER)).weights
    return TriedSkips(
        source=source_of(stack[1].eqn, stack[1].calls),
        layers=_layers(program, stack[1:]),
        values=len(stack) - 1,
        steps=count,
        start_without=made.mean_loss(made.weights, batches)[0],
        end_without=made.mean_loss(made.unchanged(count), batches)[0],
        end_faster=made.mean_loss(faster, batches)[0],
        start=other.mean(made, made.weights, batches, [()])[0],
        end=other.mean(made, there, batches, [()])[0],
    )


def _layers(program: Program, stack: Sequence[Node]) -> tuple[str, ...]:
    """Whose outputs the values are, as far as these are told."""
    owner = {id(site.eqn): layer.name for layer in program.layers for site in layer.sites}
    return tuple(dict.fromkeys(name for node in stack if (name := _owner(node, owner)) is not None))


def _owner(node: Node | None, owner: Mapping[int, str]) -> str | None:
    """Of the product that it is the result of, with a bias or in another arrangement."""
    while node is not None and node.name not in PRODUCTS:
        values = [value for value in node.operands if value.node is not None and value.reads]
        node = values[0].node if values else None
    return None if node is None else owner.get(id(node.eqn))


class _Skipping(Changed):
    """The result at each place has the one before it added, which has those before it."""

    def __init__(self, places: Sequence[Path]) -> None:
        super().__init__({}, {path: lambda outs: outs for path in places})

    def made(self, path: Path, outs: list[Any], state: Any) -> tuple[list[Any], Any]:
        if path not in self._results:
            return outs, state
        out = outs[0] if not state else outs[0] + state["before"]
        return [out], {"before": out}
