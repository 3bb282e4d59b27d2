"""Checks every `custom_vjp` and `custom_jvp` of a program by itself, at its operands in that program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import jax

from gradscope.records import RuleCheck, Verdict
from gradscope.records.progress import Progress, silent
from gradscope.trace.compiling import compile_program, free_memory
from gradscope.trace.jaxprs import Body, RuleKey
from gradscope.trace.program import Inputs, Program
from gradscope.trace.walk import Path as Route
from gradscope.verification.rules.capture import capture, operands
from gradscope.verification.rules.derivatives import DerivativeRequest, Programs, Values, real_results
from gradscope.verification.rules.find import RuleCall, find_rule_calls
from gradscope.verification.rules.rule_judgement import Judgement
from gradscope.verification.rules.visit import RuleRaises, VisitedCall

VISITS_PER_CALL = 4
"""The most runs of one call inside a loop that are judged."""
CALLS_PER_RULE = 16
"""The most calls of one function that are judged; a deep network without `scan` has one in each layer."""
SHARE = 4
"""The operands may take this fraction of the free memory: one over `SHARE`."""
JAX = Path(jax.__file__).parent
"""The folder of JAX's own rules, which are not checked."""
SMALL = 2**16
"""A rule of another library is checked if its operands have no more elements than this together."""


def check_rules(
    program: Program, inputs: Inputs, *, seed: int = 0, progress: Progress = silent
) -> tuple[CheckedRule, ...]:
    """A record for each argument of each rule that the user wrote; of a library's only the wrong ones.

    The program is run once, without its gradient, for the operands of every rule; then each rule is
    differentiated alone, batched as `vmap` left it, against its function differentiated, and against finite
    differences where these two disagree. Arguments that no parameter reaches and results without a gradient
    are skipped, as nothing in this program uses those derivatives. Rules inside a gradient that the loss
    itself takes are not found: JAX has replaced them. The records are in program order, and a rule with
    several calls has its worst verdict. `seed` draws the cotangents. A rule that raises is recorded as
    one that cannot be judged. Raises `NotEnoughMemory`.
    """
    calls = [call for call in find_rule_calls(program.body, len(program.leaves)) if _is_checked(call)]
    if not calls:
        return ()
    chosen = [call for alike in _by_function(calls).values() for call in _spread(alike)]
    progress("capturing the operands of custom rules")
    captured = _capture(program, inputs, [call for call in chosen if call.inside is None])
    programs, found = Programs(), []
    for call in chosen:
        if call.is_users:
            progress(f"checking the rule of {call.rule.function}")
        found += [
            Result(call, operand, judgement) for operand, judgement in _judged(call, captured, programs, seed)
        ]
    return tuple(_records(found, {key: len(alike) for key, alike in _by_function(calls).items()}))


@dataclass(frozen=True)
class CheckedRule:
    """The record of one argument, with the key by which the rule is found again in the program."""

    key: RuleKey
    check: RuleCheck
    windows: tuple[tuple[Route, float], ...] = ()
    """Of a surrogate, by call: the share of the elements at which it is not 0."""


@dataclass(frozen=True)
class Result:
    """The judgement of one operand of one call, at one run; `None` where no operand can be named."""

    call: RuleCall
    operand: int | None
    judgement: Judgement


def _is_checked(call: RuleCall) -> bool:
    """The user's rules are; JAX's own are not; those of other libraries are where they are small."""
    if call.is_users:
        return True
    sizes = [getattr(atom.aval, "size", 0) for atom in call.eqn.invars]
    return bool(call.rule.file) and JAX not in Path(call.rule.file).parents and sum(sizes) <= SMALL


def _by_function(calls: list[RuleCall]) -> dict[RuleKey, list[RuleCall]]:
    found: dict[RuleKey, list[RuleCall]] = {}
    for call in calls:
        found.setdefault(call.rule.key, []).append(call)
    return found


def _spread(calls: list[RuleCall]) -> list[RuleCall]:
    """At most `PLACES` of them, from the first to the last."""
    count = min(len(calls), CALLS_PER_RULE)
    return [calls[round(i * (len(calls) - 1) / max(count - 1, 1))] for i in range(count)]


def _capture(program: Program, inputs: Inputs, calls: list[RuleCall]) -> dict[Route, list[Values]]:
    """By path, the operands of each run; a call whose operands do not fit in memory is left out."""
    free, chosen = free_memory(), {}
    room = None if free is None else free // SHARE
    for call in calls:
        rows = VISITS_PER_CALL + 1 if call.looped else 1
        size = rows * sum(_bytes(atom.aval) for atom in call.eqn.invars)
        if room is not None and size > room:
            continue
        room = None if room is None else room - size
        chosen[call.path] = (call.eqn, call.looped)

    def run(args: Values, consts: Values) -> Any:
        return list(capture(Body(program.body.jaxpr, consts), args, chosen, VISITS_PER_CALL).values())

    args = [*inputs.weights, *inputs.others], list(program.body.consts)
    kept = compile_program(run, args, runs=1)(*args) if chosen else []
    pairs = zip(chosen.items(), kept, strict=True)
    return {path: list(operands(each, eqn, VISITS_PER_CALL)) for (path, (eqn, _)), each in pairs}


def _bytes(aval: Any) -> int:
    return int(getattr(aval, "size", 0)) * int(getattr(getattr(aval, "dtype", None), "itemsize", 0))


def _judged(
    call: RuleCall, captured: dict[Route, list[Values]], programs: Programs, seed: int
) -> Iterator[tuple[int | None, Judgement]]:
    """By operand, one judgement or, in a loop, one for each visit."""
    by = tuple(i for i in call.active if call.reached[i])
    wanted = tuple(i for i in real_results(call) if call.needed[i])
    reason = _unjudged(call, by, wanted, captured)
    if reason is not None:
        yield None, Judgement(Verdict.CANNOT_JUDGE, reason)
        return
    request = DerivativeRequest(call, wanted, by)
    for visit in captured[call.path]:
        try:
            yield from VisitedCall(request, visit, programs, seed).judgements()
        except RuleRaises as error:
            yield None, Judgement(Verdict.CANNOT_JUDGE, str(error))
            return


def _unjudged(
    call: RuleCall, by: tuple[int, ...], wanted: tuple[int, ...], captured: dict[Route, list[Values]]
) -> str | None:
    if call.inside is not None:
        return f"it is called inside `{call.inside}`, whose operands gradscope cannot capture"
    if not by:
        return "no parameter reaches its arguments, so its rule is not used"
    if not wanted:
        return "the loss has no gradient from its result, so its rule is not used"
    if call.path not in captured:
        return "its arguments do not fit in the free memory"
    if not captured[call.path]:
        return "it never ran: it is in a branch that was not taken, or in a loop of no iterations"
    return None


_ORDER = (Verdict.RIGHT, Verdict.CANNOT_JUDGE, Verdict.WRONG)


def _records(results: list[Result], uses: dict[RuleKey, int]) -> Iterator[CheckedRule]:
    """The worst judgement of each argument; one without an argument counts only where no other was made."""
    worst: dict[RuleKey, dict[str, Result]] = {}
    windows: dict[tuple[RuleKey, str], dict[Route, list[float]]] = {}
    for result in results:
        name = "" if result.operand is None else result.call.argument(result.operand)
        if result.judgement.window is not None:
            by_call = windows.setdefault((result.call.rule.key, name), {})
            by_call.setdefault(result.call.path, []).append(result.judgement.window)
        mine = worst.setdefault(result.call.rule.key, {})
        if name not in mine or _rank(result) > _rank(mine[name]):
            mine[name] = result
    for key, by_name in worst.items():
        named = {n: r for n, r in by_name.items() if n or r.judgement.verdict is Verdict.WRONG} or by_name
        for name, result in named.items():
            if result.call.is_users or result.judgement.verdict is Verdict.WRONG:
                by_call = windows.get((key, name), {})
                every = [share for shares in by_call.values() for share in shares]
                yield CheckedRule(
                    key,
                    replace(_record(result, name, uses[key]), window=fmean(every) if every else None),
                    tuple((path, fmean(shares)) for path, shares in by_call.items()),
                )


def _rank(result: Result) -> tuple[int, float]:
    found = result.judgement
    return _ORDER.index(found.verdict), found.relative_error


def _record(result: Result, argument: str, uses: int) -> RuleCheck:
    rule, found = result.call.rule, result.judgement
    return RuleCheck(
        function=rule.function,
        kind=rule.kind,
        argument=argument,
        verdict=found.verdict,
        reason=found.reason,
        ratio=found.ratio,
        relative_error=found.relative_error,
        uncertainty=found.uncertainty,
        uses=uses,
        source=result.call.source,
        reads_its_own=found.reads_its_own,
    )
