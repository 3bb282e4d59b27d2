"""Rewards, and ends of episodes, by the names that the batch or the loss of the user gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradscope.load.usercode.written_names import signed_factor, unpacked
from gradscope.records import MisdirectedCredit
from gradscope.trace.domains.uses import arrays_of
from gradscope.trace.misdirected.rewards import bootstraps, past_returns, unread, weighed_chances
from gradscope.trace.program import Inputs, Program

ENDS = re.compile(
    r"(is_)?(done|terminal|terminated|termination|episode_end|end_of_episode|last)s?(_mask|_flags?)?"
    r"|(not_?done|non_?terminal)s?(_mask)?",
    re.IGNORECASE,
)
REWARDS = re.compile(r"(rewards?|rews?|r)(_t|s)?", re.IGNORECASE)
GAINS = re.compile(
    r"(norm(ed|alized)?_)?(rewards?|returns?|rets?|advantages?|advs?|gaes?|returns?_to_go|rtgs?)(_t)?",
    re.IGNORECASE,
)
COSTS = re.compile(r"cost|loss|penalt|energ|error|regret|distance|length|^(c|e_loc)$", re.IGNORECASE)
CHANCES = re.compile(r"log_?(p|pi|prob|probs|policy|likelihood)|^lp$|logp", re.IGNORECASE)
SCALED = frozenset({0.0, 1.0})


def misused_rewards(
    program: Program, loss: Any, batch: Any, inputs: Sequence[Inputs]
) -> Iterator[MisdirectedCredit]:
    """`loss` is the function of the user, `batch` the first of those in `inputs`."""
    names = _names(program, loss, batch, inputs[0])
    yield from _unended(program, names, inputs)
    rewards = {at: name for at, name in names.items() if REWARDS.fullmatch(name)}
    if rewards:
        yield from _once(replace(found, name=name) for found, name in past_returns(program, rewards))
    yield from _once(_descended(program, names))


def _names(program: Program, loss: Any, batch: Any, inputs: Inputs) -> Mapping[int, str]:
    """By position among the inputs of the program: the last step of the path in the batch, or what the loss
    calls the parts of a batch that it unpacks."""
    leaves = len(program.leaves)
    arrays = list(arrays_of(batch, inputs))
    parts = unpacked(loss, len(batch)) if type(batch) in (tuple, list) else ()
    found = {}
    for each in arrays:
        last = re.findall(r"\w+", each.name)[-1:] or [""]
        whole = re.fullmatch(r"batch\[(\d+)\]", each.name)
        found[leaves + each.place] = parts[int(whole[1])] if whole and parts else last[0]
    return found


def _unended(
    program: Program, names: Mapping[int, str], inputs: Sequence[Inputs]
) -> Iterator[MisdirectedCredit]:
    """Zeros and ones that are called the ends of episodes, which the loss does not read."""
    leaves = len(program.leaves)
    ends = [at for at, name in names.items() if ENDS.fullmatch(name) and unread(program, at)]
    found = list(bootstraps(program)) if ends else []
    for at in ends[:1] if found else ():
        values = [np.asarray(jax.device_get(each.others[at - leaves])).astype(np.float64) for each in inputs]
        flat = np.concatenate([each.ravel() for each in values])
        if set(np.unique(flat)) == SCALED:
            yield replace(found[0], name=names[at], share=float(flat.mean()), count=int(flat.sum()))


def _descended(program: Program, names: Mapping[int, str]) -> Iterator[MisdirectedCredit]:
    """Log-probabilities times what the line calls a gain, which the loss grows with. Not where it is made of
    costs, or is less the more a gain of the batch is."""
    for found in weighed_chances(program):
        source = found.record.source
        if source is None or not Path(source.file).is_file():
            continue
        named = signed_factor(source, GAINS, CHANCES)
        if named is None or found.sign * named[1] < 0:
            continue
        costs = any(COSTS.search(names.get(at, "")) for at in found.inputs)
        turned = any(
            sign * named[1] < 0 and GAINS.fullmatch(names.get(at, "")) for at, sign in found.signs.items()
        )
        if not (costs or turned):
            yield replace(found.record, name=named[0])


def _once(found: Iterator[MisdirectedCredit]) -> Iterator[MisdirectedCredit]:
    met = set[object]()
    for each in found:
        if each.source not in met:
            met.add(each.source)
            yield each
