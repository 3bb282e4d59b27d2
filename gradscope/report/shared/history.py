"""A whole training in one paragraph, the same in every format, and the steps that findings name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradscope.records import Ending, Finding, History
from gradscope.report.shared import units

Mark = tuple[int, str, str]
"""A step, what is said of it, and the severity that it is said with."""
NOT_FINITE = "NaN or infinity"


def sentence(history: History) -> str:
    """`Over 1,000 steps of your optimizer the loss falls from 2.30 to 0.910, lowest 0.880 at step 930.`"""
    if not history.spans:
        return "No step was recorded."
    return " ".join(part for part in (_course(history), _validated(history), _ending(history)) if part)


def progress(history: History) -> str:
    """Of a training that goes on: `Step 412 of 1,000: loss 0.910, lowest 0.880 at step 380.`"""
    of = f" of {units.count(history.asked)}" if history.asked is not None else ""
    text = f"Step {units.count(history.steps)}{of}"
    known = _known(history)
    if not known:
        return f"{text}."
    last = _mean(history, known[-1])
    return f"{text}: loss {_loss(last)}{_lowest(history, _loss(last))}."


def marks(findings: Sequence[Finding], history: History) -> list[Mark]:
    """The steps that findings give as their evidence, in order; rules that name the same step together."""
    found: dict[int, list[Finding]] = {}
    for finding in findings:
        step = finding.evidence.get("step")
        if isinstance(step, int | float) and math.isfinite(step) and 0 <= step < history.steps:
            found.setdefault(int(step), []).append(finding)
    return [
        (
            step,
            f"step {units.count(step)}: {', '.join(dict.fromkeys(each.rule for each in of))}",
            min((each.severity for each in of), key=lambda severity: severity.rank).value,
        )
        for step, of in sorted(found.items())
    ]


def steps_text(first: int, last: int) -> str:
    """`step 7`, `steps 0 to 15`."""
    return (
        f"step {units.count(first)}"
        if first == last
        else f"steps {units.count(first)} to {units.count(last)}"
    )


def first_loss(history: History) -> float | None:
    """Mean over the first span; NaN where it is not finite, `None` where no loss is known."""
    known = _known(history)
    return _mean(history, known[0]) if known else None


def last_loss(history: History) -> float | None:
    known = _known(history)
    return _mean(history, known[-1]) if known else None


def loss_known(history: History, span: int) -> bool:
    losses = history.losses
    return bool(losses.low) and losses.low[span] <= losses.high[span]


def loss_finite(history: History, span: int) -> bool:
    losses = history.losses
    return loss_known(history, span) and math.isfinite(losses.low[span]) and math.isfinite(losses.high[span])


def _known(history: History) -> list[int]:
    """Spans in which a loss is known."""
    return [span for span in range(len(history.spans)) if loss_known(history, span)]


def _mean(history: History, span: int) -> float:
    return history.mean_losses[span] if loss_finite(history, span) else math.nan


def _loss(value: float) -> str:
    return units.cell(value) if math.isfinite(value) else NOT_FINITE


def _who(history: History) -> str:
    if history.own:
        return history.optimizer
    return f"{history.optimizer}, for want of an optimizer in the file,"


def _since(history: History) -> str:
    """Where a training was taken up again: what came before is not in the recording."""
    return f" from step {units.count(history.begun)} on" if history.begun else ""


def _course(history: History) -> str:
    steps, known = units.counted(history.recorded_steps, "step"), _known(history)
    if not known:
        return f"{steps} of {_who(history)}{_since(history)} without a record of the loss; {_norms(history)}."
    if len(known) == 1 and history.recorded_steps == 1:
        before = _loss(_mean(history, known[0]))
        return f"1 step of {_who(history)}{_since(history)}: the loss before it is {before}."
    first, last = _mean(history, known[0]), _mean(history, known[-1])
    text = f"Over {steps} of {_who(history)}{_since(history)} the loss {_from_to(first, last)}"
    if math.isfinite(first) or math.isfinite(last):
        text += _averaged(history, known)
    text += _lowest(history, _loss(last))
    where = history.nonfinite_loss_at
    if where is not None:
        text += f"; the first that is not finite is that of step {units.count(where)}"
    return f"{text}."


def _from_to(first: float, last: float) -> str:
    start, end = _loss(first), _loss(last)
    if start == end:
        return f"stays at {end}" if math.isfinite(last) else f"starts and ends at {end}"
    if not math.isfinite(last):
        return f"goes from {start} to {end}"
    if not math.isfinite(first):
        return f"starts at {start} and ends at {end}"
    return f"{'falls' if last < first else 'rises'} from {start} to {end}"


def _averaged(history: History, known: Sequence[int]) -> str:
    """Said where the two numbers are means over several steps."""
    longest = max(last - first + 1 for first, last in map(history.span_of, (known[0], known[-1])))
    return f" (means over up to {units.counted(longest, 'step')})" if longest > 1 else ""


def _lowest(history: History, end: str) -> str:
    finite = [(low, span) for span, low in enumerate(history.losses.low) if math.isfinite(low)]
    if not finite:
        return ""
    low, span = min(finite)
    first, last = history.span_of(span)
    if _loss(low) == end:
        return ""
    return f", lowest {_loss(low)} {'at' if first == last else 'in'} {steps_text(first, last)}"


def _norms(history: History) -> str:
    first, last = (_loss(history.gradient_norms.high[span]) for span in (0, -1))
    return (
        f"the gradient norm goes from {first} to {last}" if first != last else f"the gradient norm is {last}"
    )


def _validated(history: History) -> str:
    found = history.validation
    if not found:
        return ""
    first, last = found[0], found[-1]
    after = f"after {units.counted(last.step, 'step')}"
    if len(found) == 1:
        return f"The validation loss is {_loss(last.loss)} {after}."
    text = f"The validation loss {_from_to(first.loss, last.loss)}"
    finite = [each for each in found if math.isfinite(each.loss)]
    best = min(finite, key=lambda each: each.loss, default=last)
    if _loss(best.loss) != _loss(last.loss):
        text += f", lowest {_loss(best.loss)} after {units.counted(best.step, 'step')}"
    return f"{text}."


def _ending(history: History) -> str:
    of = f" of {units.count(history.asked)}" if history.asked is not None else ""
    taken = f"{units.count(history.steps)}{of} step{'' if history.steps == 1 and not of else 's'}"
    match history.ending:
        case Ending.INTERRUPTED:
            text = f"It was stopped by Ctrl-C after {taken}."
        case Ending.DATA_ENDED:
            text = f"The data ended after {taken}: `--repeat` goes through them again."
        case Ending.NOT_FINITE:
            step = units.count(max(history.steps - 1, 0))
            become = "a parameter would have become NaN or infinite"
            text = f"At step {step} {become}: the step was not taken."
        case Ending.LOSS_NOT_FINITE:
            text = f"It was stopped after {taken}: the loss was not finite at twenty steps in a row."
        case Ending.RUNNING:
            text = "No end was recorded: the training goes on, or was killed."
        case Ending.COMPLETE:
            text = ""
    if history.record_cut_off:
        text = f"{text} The last line of the recording is not whole.".strip()
    return text
