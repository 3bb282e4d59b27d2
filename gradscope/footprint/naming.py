"""What the user calls a block that repeats, and the line of code that checkpoints it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gradscope.footprint.wrapped import Repeat
from gradscope.records import Source
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import UserFunction
from gradscope.trace.sources import source_at

NEARLY_ALL = 0.8
"""Of the equations of a block: keys that the caller splits for it are made outside of its function."""


@dataclass(frozen=True)
class BlockName:
    function: str
    """That the user wrote for the block; empty where it is a part of another one."""
    text: str
    source: Source | None


def named(repeat: Repeat) -> BlockName:
    """The function in which nearly all of a block was made, and nothing else; else the lines around it."""
    around = [jaxprs.user_functions(eqn, repeat.calls)[::-1] for eqn in repeat.equations]
    level, within = _shared([stack for stack in around if stack])
    if level < 0:
        return BlockName("", "a part of the program", None)
    inner, lines = within[0][level], sorted({stack[level].line for stack in within})
    source = source_at((inner.file, lines[0]))
    whole = repeat.loop is not None or not _made_elsewhere(repeat, inner, lines)
    if whole and inner.name.rpartition(".")[2] not in ("<lambda>", "<module>"):
        return BlockName(inner.name, inner.name, source)
    if lines[0] == lines[-1]:
        return BlockName("", f"line {lines[0]} of {inner.name}", source)
    return BlockName("", f"lines {lines[0]} to {lines[-1]} of {inner.name}", source)


def _shared(stacks: list[list[UserFunction]]) -> tuple[int, list[list[UserFunction]]]:
    """The innermost level at which nearly all stand in one function, and those that do."""
    level, within = -1, stacks
    while True:
        deeper = [stack for stack in within if len(stack) > level + 1]
        functions = Counter(_key(stack[level + 1]) for stack in deeper)
        if not functions or functions.most_common(1)[0][1] < NEARLY_ALL * len(stacks):
            return level, within
        level += 1
        within = [stack for stack in deeper if _key(stack[level]) == functions.most_common(1)[0][0]]


def _key(function: UserFunction) -> tuple[str, int]:
    return function.file, function.first_line


def _made_elsewhere(repeat: Repeat, function: UserFunction, lines: list[int]) -> bool:
    """Whether other lines of the function made equations outside of the blocks."""
    inside_it = {id(eqn) for block in repeat.blocks for eqn in block.eqns}
    return any(
        _key(each) == _key(function) and each.line not in lines
        for eqn in repeat.home.eqns
        if id(eqn) not in inside_it
        for each in jaxprs.user_functions(eqn)
    )


def line_for(where: BlockName, policy: str, framework: str) -> str:
    """In the words of the user's framework; `framework` is its name, or empty."""
    owner, _, method = where.function.rpartition(".")
    name = where.function or "block"
    of_class = owner or "Block"
    how = "" if policy == "nothing_saveable" else f", policy=jax.checkpoint_policies.{policy}"
    if framework == "Flax NNX":
        return f"{of_class}.{method or '__call__'} = nnx.remat({of_class}.{method or '__call__'}{how})"
    if framework == "Flax Linen":
        return f"{of_class} = nn.remat({of_class}{how})"
    if framework == "Equinox":
        called = f"{name} = eqx.filter_checkpoint({name}{how})"
        return called if where.function and not owner else f"x = eqx.filter_checkpoint(block{how})(x)"
    if framework == "Haiku":
        return f"{name} = hk.remat({name}{how})"
    return f"{name} = jax.checkpoint({name}{how})"
