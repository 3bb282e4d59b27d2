"""From a report and a policy to an exit code: pure, and all that a CI job depends on."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import Comparison, Contestant, Policy as Policy, Suite, Trouble
from gradscope.records.policy import SEVERITIES
from gradscope.rules import all_rules

NEVER = "never"
SAME_START = 1e-3
"""Relative difference of two losses before the first step that machines and versions may make."""


def parse(text: str, more_rules: Iterable[str] = ()) -> Policy:
    """The policy that `--fail-on` names: `error`, `error,unstable-expression`, or `never` by itself.

    `more_rules` are known, too: a saved run may hold findings of rules that this gradscope does not have.
    """
    entries = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if entries == (NEVER,):
        return Policy(())
    # Rules are found by importing all of them: not asked for where severities alone are given.
    if not set(entries) <= {*SEVERITIES, NEVER}:
        known = [*SEVERITIES, NEVER, *(rule.name for rule in all_rules()), *more_rules]
        for entry in entries:
            if entry not in known:
                raise _unknown(entry, known)
    if not entries or NEVER in entries:
        raise GradscopeError(
            f'"--fail-on {text}" does not say what to fail on.',
            why=f'"{NEVER}" stands alone.' if entries else "It is empty.",
            fix='Give severities and rules as in "error,non-finite", or "never".',
            slug="unknown-policy",
        )
    return Policy(entries)


def exit_code(suite: Suite) -> ExitCode:
    """One code for all targets. A sick model is the surest thing that can be said: it comes first."""
    if any(outcome.failures for outcome in suite.outcomes):
        return ExitCode.FINDINGS
    troubles = {outcome.not_judged.trouble for outcome in suite.outcomes if outcome.not_judged is not None}
    if Trouble.BUG in troubles:
        return ExitCode.INTERNAL
    return ExitCode.NOT_JUDGED if troubles else ExitCode.CLEAN


def _unknown(entry: str, known: list[str]) -> GradscopeError:
    near = difflib.get_close_matches(entry, sorted(known), n=1, cutoff=0.5)
    return GradscopeError(
        f'"{entry}" is neither a severity nor a rule.',
        why="--fail-on takes error, warning, note, never and names of rules.",
        fix=f'Did you mean "{near[0]}"?' if near else "`gradscope rules` lists the rules.",
        slug="unknown-policy",
    )


def regression(now: Comparison, before: Comparison) -> tuple[float, str]:
    """Share of its former improvement that the user's optimizer has lost, and the sentence that says so.

    Zero where the change lies within the spread of the seeds of either run: a gate fails on what is clearly
    worse. Raises where the two runs cannot be compared.
    """
    new, old = _users(now), _users(before)
    _require_same_terms(now, before)
    if not math.isfinite(old.final_loss):
        return 0.0, "Your optimizer diverged in the saved run: there was nothing to lose."
    improvement = before.initial_loss - old.final_loss
    change = new.final_loss - old.final_loss
    noise = max(old.final_high - old.final_low, new.final_high - new.final_low)
    text = (
        f"{_other_start(now, before)}The training loss of your optimizer ended at {old.final_loss:.4g} in "
        f"the saved run, now at {new.final_loss:.4g}"
    )
    if not math.isfinite(new.final_loss):
        return math.inf, f"{text}: it diverges."
    if abs(change) <= noise:
        return 0.0, f"{text}: within the spread of the seeds."
    lost = change / improvement if improvement > 0 else math.copysign(math.inf, change)
    return lost, f"{text}: {abs(lost):.1%} of its improvement {'lost' if lost > 0 else 'gained'}."


def _require_same_terms(now: Comparison, before: Comparison) -> None:
    if now.steps == before.steps and now.seeds == before.seeds:
        return
    first, count = min(before.seeds), len(before.seeds)
    raise GradscopeError(
        f"The saved run has {before.steps} steps and the seeds {_listed(before.seeds)}, this one {now.steps} "
        f"and {_listed(now.seeds)}.",
        why="Losses after other numbers of steps, or from other starts, say nothing about each other.",
        fix=f"Give --steps {before.steps} --seeds {count}{f' --seed {first}' if first else ''}.",
        slug="runs-differ",
    )


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def _other_start(now: Comparison, before: Comparison) -> str:
    """The same seeds start from the same loss: from another one the model, the data or the batch differs."""
    if math.isclose(now.initial_loss, before.initial_loss, rel_tol=SAME_START):
        return ""
    return (
        f"The loss starts at {now.initial_loss:.4g}, in the saved run at {before.initial_loss:.4g}: the "
        "model, the data, the batch size or the loss changed, so the two may not be comparable. "
    )


def _users(comparison: Comparison) -> Contestant:
    found = next((row for row in comparison.contestants if row.name == comparison.users), None)
    if found is None:
        raise GradscopeError(
            "There is no optimizer of yours to compare with the saved run.",
            why="The file gives no `optimizer`, now or when the run was saved, or Ctrl-C came before it ran.",
            fix="Add `optimizer = optax.adam(1e-3)`, or whichever you train with, to the file.",
            slug="runs-differ",
        )
    return found
