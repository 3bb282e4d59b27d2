"""Every `custom_vjp` and `custom_jvp` of a program, each by itself, at the values that it really gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from gradscope.records import RuleCheck, Verdict
from gradscope.records.progress import Progress, silent
from gradscope.trace.compiling import compile_program, free_memory
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.walk import Path as Route
from gradscope.verification.rules.capture import capture, operands
from gradscope.verification.rules.derivatives import Asked, Programs, Values, real_results
from gradscope.verification.rules.find import Place, find_places
from gradscope.verification.rules.judging import Judgement
from gradscope.verification.rules.visit import RuleRaises, Visit

VISITS = 4
"""Visits of one place in a loop that are judged."""
PLACES = 16
"""Calls of one function that are judged; a deep network without `scan` has one in each layer."""
SHARE = 4
"""Operands may take one part in so many of the free memory."""
JAX = Path(jax.__file__).parent
"""Where JAX's own rules are, those of `jax.experimental` among them."""
SMALL = 2**16
"""Elements of all operands together up to which a library's rule is checked too."""


def check_rules(
    program: Program, inputs: Inputs, *, seed: int = 0, progress: Progress = silent
) -> tuple[RuleCheck, ...]:
    """A record for each argument of each rule that the user wrote; of a library's only the wrong ones.

    The program is run once, without its gradient, for the operands of every rule; then each rule is
    differentiated alone, batched as `vmap` left it, against its function differentiated, and against finite
    differences where these two disagree. Arguments that no parameter reaches and results without a gradient
    are passed over, as nothing in this program uses what the rule says of them. Rules used up by a gradient
    that the loss itself takes are not seen: JAX has replaced them. Records stand in the order of the program,
    and a rule used at several places has its worst verdict. `seed` draws the cotangents. Raises nothing of
    the user's: a rule that raises cannot be judged, and says so.
    """
    places = [place for place in find_places(program.body, len(program.leaves)) if _is_checked(place)]
    if not places:
        return ()
    chosen = [place for alike in _by_function(places).values() for place in _spread(alike)]
    progress("capturing the operands of custom rules")
    captured = _capture(program, inputs, [place for place in chosen if place.inside is None])
    programs, found = Programs(), []
    for place in chosen:
        if place.users:
            progress(f"checking the rule of {place.rule.function}")
        found += [
            Result(place, operand, judgement)
            for operand, judgement in _judged(place, captured, programs, seed)
        ]
    return tuple(_records(found, {key: len(alike) for key, alike in _by_function(places).items()}))


@dataclass(frozen=True)
class Result:
    """What one visit of one place said of one operand; `None` where there is no operand to name."""

    place: Place
    operand: int | None
    judgement: Judgement


def _is_checked(place: Place) -> bool:
    """The user's rules. JAX's own are right; another library's are looked at where it costs little."""
    if place.users:
        return True
    sizes = [getattr(atom.aval, "size", 0) for atom in place.eqn.invars]
    return bool(place.rule.file) and JAX not in Path(place.rule.file).parents and sum(sizes) <= SMALL


Function = tuple[str, str, str, int]
"""Kind, name, file and line."""


def _function(place: Place) -> Function:
    rule = place.rule
    return rule.kind, rule.function, rule.file, rule.line


def _by_function(places: list[Place]) -> dict[Function, list[Place]]:
    found: dict[Function, list[Place]] = {}
    for place in places:
        found.setdefault(_function(place), []).append(place)
    return found


def _spread(places: list[Place]) -> list[Place]:
    """At most `PLACES` of them, from the first to the last."""
    count = min(len(places), PLACES)
    return [places[round(i * (len(places) - 1) / max(count - 1, 1))] for i in range(count)]


def _capture(program: Program, inputs: Inputs, places: list[Place]) -> dict[Route, list[Values]]:
    """By path, the operands of each visit; a path that memory has no room for is left out."""
    free, chosen = free_memory(), {}
    room = None if free is None else free // SHARE
    for place in places:
        rows = VISITS + 1 if place.looped else 1
        size = rows * sum(_bytes(atom.aval) for atom in place.eqn.invars)
        if room is not None and size > room:
            continue
        room = None if room is None else room - size
        chosen[place.path] = (place.eqn, place.looped)

    def run(args: Values, consts: Values) -> Any:
        return list(capture(Body(program.body.jaxpr, consts), args, chosen, VISITS).values())

    args = [*inputs.weights, *inputs.others], list(program.body.consts)
    kept = compile_program(run, args, runs=1)(*args) if chosen else []
    pairs = zip(chosen.items(), kept, strict=True)
    return {path: list(operands(each, eqn, VISITS)) for (path, (eqn, _)), each in pairs}


def _bytes(aval: Any) -> int:
    return int(getattr(aval, "size", 0)) * int(getattr(getattr(aval, "dtype", None), "itemsize", 0))


def _judged(
    place: Place, captured: dict[Route, list[Values]], programs: Programs, seed: int
) -> Iterator[tuple[int | None, Judgement]]:
    """By operand, one judgement or, in a loop, one for each visit."""
    by = tuple(i for i in place.active if place.reached[i])
    wanted = tuple(i for i in real_results(place) if place.needed[i])
    reason = _unjudged(place, by, wanted, captured)
    if reason is not None:
        yield None, Judgement(Verdict.CANNOT_JUDGE, reason)
        return
    asked = Asked(place, wanted, by)
    for visit in captured[place.path]:
        try:
            yield from Visit(asked, visit, programs, seed).judgements()
        except RuleRaises as error:
            yield None, Judgement(Verdict.CANNOT_JUDGE, str(error))
            return


def _unjudged(
    place: Place, by: tuple[int, ...], wanted: tuple[int, ...], captured: dict[Route, list[Values]]
) -> str | None:
    if place.inside is not None:
        return f"it is called inside `{place.inside}`, which gradscope does not look into"
    if not by:
        return "no parameter reaches its arguments, so its rule is not used"
    if not wanted:
        return "the loss has no gradient from its result, so its rule is not used"
    if place.path not in captured:
        return "its arguments are too large to be kept beside the program"
    if not captured[place.path]:
        return "it never ran: it is in a branch that was not taken, or a loop that did not turn"
    return None


_ORDER = (Verdict.RIGHT, Verdict.CANNOT_JUDGE, Verdict.WRONG)


def _records(results: list[Result], uses: dict[Function, int]) -> Iterator[RuleCheck]:
    """The worst of each argument; what could not be judged at one place counts only where none was judged."""
    worst: dict[Function, dict[str, Result]] = {}
    for result in results:
        name = "" if result.operand is None else result.place.argument(result.operand)
        mine = worst.setdefault(_function(result.place), {})
        if name not in mine or _rank(result) > _rank(mine[name]):
            mine[name] = result
    for key, by_name in worst.items():
        named = {n: r for n, r in by_name.items() if n or r.judgement.verdict is Verdict.WRONG} or by_name
        for name, result in named.items():
            if result.place.users or result.judgement.verdict is Verdict.WRONG:
                yield _record(result, name, uses[key])


def _rank(result: Result) -> tuple[int, float]:
    found = result.judgement
    return _ORDER.index(found.verdict), found.relative_error


def _record(result: Result, argument: str, uses: int) -> RuleCheck:
    rule, found = result.place.rule, result.judgement
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
        source=result.place.source,
    )
