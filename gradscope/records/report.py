"""The whole of a run: what each question measured, what was found, what it took."""

from __future__ import annotations

import json
import os
from dataclasses import field
from typing import Any

from gradscope import display
from gradscope.records.baseline import BaselineResult
from gradscope.records.common import Excerpt, Severity, Skipped
from gradscope.records.comparison import Comparison, RateSearch
from gradscope.records.correctness import Verification
from gradscope.records.cost import Cost
from gradscope.records.curvature import Curvature
from gradscope.records.finding import Finding
from gradscope.records.history import History
from gradscope.records.measurement import Measurement
from gradscope.records.memory import Memory
from gradscope.records.record import record
from gradscope.records.remedies import Remedies
from gradscope.records.training import ShortTraining


@record
class Timing:
    """Wall-clock seconds of each part of a run, and how the flow pass was compiled."""

    load_s: float = 0.0
    trace_s: float = 0.0
    compile_s: float = 0.0
    run_s: float = 0.0
    blocks: int = 0
    """Of the flow pass; 0 where it ran as one program."""
    distinct_blocks: int = 0
    """Those that were compiled: the others are equal to one of them."""
    train_s: float = 0.0
    """The short training, its compiling included."""

    @property
    def total_s(self) -> float:
        return self.load_s + self.trace_s + self.compile_s + self.run_s + self.train_s

    def plus(self, other: Timing) -> Timing:
        return Timing(
            self.load_s + other.load_s,
            self.trace_s + other.trace_s,
            self.compile_s + other.compile_s,
            self.run_s + other.run_s,
            max(self.blocks, other.blocks),
            max(self.distinct_blocks, other.distinct_blocks),
            self.train_s + other.train_s,
        )


@record
class Tool:
    gradscope: str
    jax: str
    backend: str
    """`cpu`, `gpu` or `tpu`."""


@record
class Report:
    """What was measured, by the question that was asked; the findings; what was skipped and why."""

    target: str
    tool: Tool
    flow: Measurement | None = None
    """By `check`."""
    training: ShortTraining | None = None
    """By `check`, where steps could be taken."""
    history: History | None = None
    """By `monitor`, and of a recording."""
    gradients: Verification | None = None
    """By `verify` and `check --verify`."""
    optimizers: Comparison | None = None
    """By `compare-optimizers`."""
    rates: RateSearch | None = None
    """By `find-lr`."""
    remedies: Remedies | None = None
    """By `fix`."""
    memory: Memory | None = None
    """By `memory`."""
    curvature: Curvature | None = None
    """By `curvature`."""
    cost: Cost | None = None
    """By `cost`."""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """What was done and may surprise: a cast to float32, for instance. Nothing was left out."""
    skipped: tuple[Skipped, ...] = ()
    timing: Timing = field(default_factory=Timing)
    seeds: tuple[int, ...] = (0,)
    """The measurement is that of the first; findings are those of most of them."""
    baseline: BaselineResult | None = None
    """The run as a whole compared with its baseline; `None` without one."""
    minority_findings: tuple[Finding, ...] = ()
    """What was there in some of the seeds, but not in most: no findings, and listed in `skipped`."""
    rules: tuple[str, ...] = ()
    """The rules that judged it: where one is silent about a layer, that layer has passed it."""
    left_out: tuple[str, ...] = ()
    """Rules that could have judged it and were not asked to: by `--select` or `--ignore`."""
    excerpts: tuple[Excerpt, ...] = ()
    """The lines around those that the findings name, where the files could be read."""

    @property
    def verdict(self) -> str:
        """`sick` where a finding is an error or no optimizer lowers the loss, else `healthy`; the gate's
        policy may be stricter."""
        untrained = (self.optimizers and not self.optimizers.best) or (self.rates and not self.rates.code)
        sick = untrained or any(f.severity is Severity.ERROR for f in self.findings)
        return "sick" if sick else "healthy"

    @property
    def unexamined(self) -> tuple[str, ...]:
        """What a verdict of `healthy` does not speak of."""
        if self.memory is not None:
            return ("no limit given",) if self.memory.limit is None else ()
        if self.cost is not None:
            return ("no limit given",) if self.cost.limit is None else ()
        if self.curvature is not None:
            known = self.curvature.largest is not None or self.curvature.zero
            gaps = [] if known else ["second derivatives not measured"]
            return tuple(gaps if self.curvature.own is not None else [*gaps, "no optimizer given"])
        found = [] if self.flow is not None else ["layers not measured"]
        if self.gradients is None:
            rules = self.flow.custom_rules if self.flow is not None else None
            count = f" ({rules} custom derivative rule{'' if rules == 1 else 's'})" if rules else ""
            found.append(f"gradients not verified{count}")
        if self.optimizers is None and self.rates is None:
            trained = self.training or self.history
            if trained is None:
                found.append("training not tried")
            elif not trained.own:
                found.append("no optimizer given")
        if self.left_out:
            found.append(f"{len(self.left_out)} rule{'' if len(self.left_out) == 1 else 's'} left out")
        return tuple(found)

    @property
    def loss(self) -> float | None:
        """Before any training step, whichever question was asked; `None` where nothing was measured."""
        if self.flow is not None:
            return self.flow.loss
        if self.gradients is not None:
            return self.gradients.loss
        if self.optimizers is not None:
            return self.optimizers.initial_loss
        if self.curvature is not None:
            return self.curvature.loss
        if self.history is not None and self.history.losses.low:
            return self.history.mean_losses[0]
        tests = self.rates.tests if self.rates is not None else ()
        return tests[0].losses[0] if tests and tests[0].losses else None

    @property
    def unseen(self) -> tuple[Skipped, ...]:
        """Operations that consume parameters and that gradscope ran without looking inside."""
        return self.flow.unseen if self.flow is not None else ()

    def __str__(self) -> str:
        """What `gradscope check` prints."""
        return display.text_of(self)

    def __repr__(self) -> str:
        """One line; `print` shows the whole of it."""
        counts = {level.value: sum(f.severity is level for f in self.findings) for level in Severity}
        found = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items() if n)
        layers = "" if self.flow is None else f", {len(self.flow.layers)} layers"
        return f"<gradscope.Report {self.target}: {self.verdict}{layers}, {found or 'no findings'}>"

    def to_dict(self) -> dict[str, Any]:
        """The object of `--format json`: only types that JSON has, numbers to six digits."""
        found: dict[str, Any] = json.loads(self.to_json())
        return found

    def to_json(self) -> str:
        """What `--format json` prints; `gradscope.load_report` reads it from a file."""
        return display.json_of(self)

    def to_html(self) -> str:
        """What `--format html` writes: one page without references to other files."""
        return display.page_of(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what `--save` writes, for `gradscope.load_report`, `gradscope report` and `gradscope diff`.

        The file is written whole or not at all. Raises `GradscopeError` where it cannot be written.
        """
        display.save(self, os.fspath(path))

    def to_frame(self, what: str = "layers", library: str | None = None) -> Any:
        """A table of this report as a data frame, with all digits and a row for each record.

        `what` is `layers`, `parameters`, `findings`, `evidence` (the numbers of the findings) or `steps`
        (those of a training). `library` is `pandas` or `polars`; by default the first that is installed.
        What was not measured is missing; in pandas a number that is NaN looks the same, in polars it is NaN.
        Raises `GradscopeError` where no library is installed or the run did not measure `what`.
        """
        return display.frame_of(self, what, library)

    def figure(self, finding: Finding | None = None) -> Any:
        """Activation and δ of each layer on log scales, the input first, as a `matplotlib.figure.Figure`.

        Marked are the layers that have findings, or that of `finding` alone. It shows itself in a notebook;
        `savefig` writes it. Raises `GradscopeError` where matplotlib is not installed or there are no layers.
        """
        return display.figure_of(self, finding)

    def _repr_html_(self) -> str:
        return display.html_of(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """For a notebook, and as text for one that is shown at a terminal."""
        del include, exclude  # Jupyter leaves out what it does not want
        return {"text/html": self._repr_html_(), "text/plain": str(self)}
