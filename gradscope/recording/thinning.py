"""Thins a training of any length to a bounded history: neighbouring spans are merged, extremes are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from gradscope.records import (
    Ending,
    Extremes,
    Heading,
    History,
    LayerHistory,
    LossRecord,
    StepRecord,
    ValidationRecord,
)
from gradscope.records.history import QUANTITIES

MOST_SPANS = 1024
FEWEST_SPANS = 128
MOST_CELLS = 2**15
"""Spans times layers, where that leaves more than `FEWEST_SPANS`: a report of it stays a few megabytes."""
MOST_VALIDATIONS = 512


@dataclass
class _Span:
    first: int
    records: int
    loss_low: float
    loss_high: float
    loss_sum: float
    losses: int
    norm_low: float
    norm_high: float
    low: list[list[float]]
    """By quantity and layer; NaN where nothing was measured."""
    high: list[list[float]]

    def absorb(self, later: _Span) -> None:
        self.records += later.records
        self.loss_low, self.loss_high = (
            min(self.loss_low, later.loss_low),
            max(self.loss_high, later.loss_high),
        )
        self.loss_sum, self.losses = self.loss_sum + later.loss_sum, self.losses + later.losses
        self.norm_low, self.norm_high = (
            min(self.norm_low, later.norm_low),
            max(self.norm_high, later.norm_high),
        )
        for own, other in zip(self.low, later.low, strict=True):
            own[:] = [a if a <= b or b != b else b for a, b in zip(own, other, strict=True)]
        for own, other in zip(self.high, later.high, strict=True):
            own[:] = [a if a >= b or b != b else b for a, b in zip(own, other, strict=True)]


@dataclass
class Thinned:
    """The history so far; add each record as it comes."""

    heading: Heading
    steps: int = 0
    nonfinite_loss_at: int | None = None
    nonfinite_gradient_at: int | None = None
    batches_per_pass: int | None = None
    _spans: list[_Span] = field(default_factory=list)
    _nonfinite_since: int | None = None
    _last_loss: float | None = None
    _last_measured: int | None = None
    _opening: int = 0
    """The first step that the first record tells of."""
    _stride: int = 1
    """Records that a span holds."""
    _validation: list[ValidationRecord] = field(default_factory=list)

    @property
    def most(self) -> int:
        layers = max(len(self.heading.layers), 1)
        return max(FEWEST_SPANS, min(MOST_SPANS, MOST_CELLS // layers))

    def add(self, record: StepRecord) -> None:
        first = record.step - max(len(record.losses), 1) + 1
        self._note_nonfinite(record, first)
        finite = [loss for loss in record.losses if math.isfinite(loss)]
        losses = [_comparable(loss) for loss in record.losses]
        norm = _comparable(record.gradient_norm)
        span = _Span(
            first=first,
            records=1,
            loss_low=min(losses, default=math.inf),
            loss_high=max(losses, default=-math.inf),
            loss_sum=math.fsum(finite),
            losses=len(finite),
            norm_low=norm,
            norm_high=norm,
            low=[list(row) for row in record.values],
            high=[list(row) for row in record.values],
        )
        self._place_start(span, record.step)
        self.steps, self._last_measured = record.step + 1, record.step
        if self._spans and self._spans[-1].records < self._stride:
            self._spans[-1].absorb(span)
            return
        if len(self._spans) == self.most:
            self._halve()
        self._spans.append(span)

    def _place_start(self, span: _Span, step: int) -> None:
        """The history begins at step 0, unless that is farther from the first record than the next one is: a
        training that was taken up again. Before there is a next one `every` says how far they lie apart."""
        if not self._spans:
            self._opening = span.first
            span.first = span.first if span.first > self.heading.every else 0
        elif len(self._spans) == self._spans[0].records == 1:
            apart = step - (self._last_measured or 0)
            self._spans[0].first = self._opening if self._opening > apart else 0

    def add_losses(self, record: LossRecord) -> None:
        """Of steps after the last measured one: they count to its span."""
        self._note_losses(record.losses, record.step - len(record.losses) + 1)
        self.steps = record.step + 1
        if not self._spans:
            return
        span, losses = self._spans[-1], [_comparable(loss) for loss in record.losses]
        finite = [loss for loss in record.losses if math.isfinite(loss)]
        span.loss_low, span.loss_high = min([span.loss_low, *losses]), max([span.loss_high, *losses])
        span.loss_sum, span.losses = span.loss_sum + math.fsum(finite), span.losses + len(finite)

    def add_validation(self, record: ValidationRecord) -> None:
        if len(self._validation) == MOST_VALIDATIONS:
            best = min(self._validation, key=lambda each: _comparable(each.loss))
            self._validation = [each for each in self._validation[::2] if each is not best] + [best]
            self._validation.sort(key=lambda each: each.step)
        self._validation.append(record)

    def _note_losses(self, losses: Sequence[float], first: int) -> None:
        for step, loss in enumerate(losses, first):
            self._last_loss = loss
            if math.isfinite(loss):
                self._nonfinite_since = None
                continue
            self.nonfinite_loss_at = step if self.nonfinite_loss_at is None else self.nonfinite_loss_at
            self._nonfinite_since = step if self._nonfinite_since is None else self._nonfinite_since

    def _note_nonfinite(self, record: StepRecord, first: int) -> None:
        self._note_losses(record.losses, first)
        if self.nonfinite_gradient_at is None and not math.isfinite(record.gradient_norm):
            self.nonfinite_gradient_at = record.step

    def _halve(self) -> None:
        for early, late in zip(self._spans[::2], self._spans[1::2], strict=False):
            early.absorb(late)
        self._spans = self._spans[::2]
        self._stride *= 2

    def history(self, ending: Ending = Ending.RUNNING, *, cut_off: bool = False) -> History:
        spans, heading = self._spans, self.heading
        return History(
            optimizer=heading.optimizer,
            own=heading.own,
            steps=self.steps,
            asked=heading.asked,
            every=heading.every,
            ending=ending,
            spans=tuple(span.first for span in spans),
            losses=Extremes(tuple(s.loss_low for s in spans), tuple(s.loss_high for s in spans))
            if any(s.loss_low <= s.loss_high for s in spans)
            else Extremes((), ()),
            mean_losses=tuple(s.loss_sum / s.losses if s.losses else math.nan for s in spans),
            gradient_norms=Extremes(tuple(s.norm_low for s in spans), tuple(s.norm_high for s in spans)),
            layers=tuple(self._layer(place) for place in range(len(heading.layers))),
            validation=tuple(self._validation),
            nonfinite_loss_at=self.nonfinite_loss_at,
            nonfinite_since=self._nonfinite_since,
            nonfinite_gradient_at=self.nonfinite_gradient_at,
            batches_per_pass=self.batches_per_pass,
            last_loss=self._last_loss,
            last_measured=self._last_measured,
            record_cut_off=cut_off,
        )

    def _layer(self, place: int) -> LayerHistory:
        about, found = self.heading.layers[place], dict[str, Extremes | None]()
        for row, quantity in enumerate(self.heading.quantities):
            low = tuple(span.low[row][place] for span in self._spans)
            high = tuple(span.high[row][place] for span in self._spans)
            found[quantity] = None if all(map(math.isnan, high)) else Extremes(low, high)
        return LayerHistory(about.name, about.source, **{**dict.fromkeys(QUANTITIES), **found})


def _comparable(value: float) -> float:
    return math.inf if math.isnan(value) else value
