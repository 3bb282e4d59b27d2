"""Writes what `recorded` or `Monitor` measured in a user's own loop to a recording, one step behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope import __version__
from gradscope.errors import GradscopeError
from gradscope.recording.file import Recording, require_new
from gradscope.records import Ending, Heading, LossRecord, RecordedLayer, StepRecord, ValidationRecord
from gradscope.records.history import OF_PARAMETERS, QUANTITIES
from gradscope.training.recorded import RecordedState, names_of_layers
from gradscope.training.watched_loss import Monitor


@dataclass(frozen=True)
class _Written:
    """What one call of `write` gave."""

    vector: Any
    """`None` where the layers were not measured; with an axis in front of a scan over steps."""
    reached: Any
    """Steps that were taken: a number, or an array that is still being computed."""
    losses: list[Any]


class Recorder:
    """`gradscope.Recorder`: appends what a loop of your own measured to a new file.

    Of an optimizer made by `gradscope.recorded`, call `write(opt_state, loss)` after each step, or after
    every so many. Of a `gradscope.Monitor`, make it as `Recorder(path, monitor=monitor)`, and call
    `write(numbers, loss)` at each step, with `None` in place of the numbers where there are none, or with
    `step=` where not every step is written.

    It copies one small vector on the device, and writes what the call before had copied: it waits for that
    step at most, never for its own. Of several processes only the first one writes. As a context manager,
    or by `close`, the last record is written, too. `gradscope report FILE` judges and draws the file, and
    `gradscope monitor --follow FILE` watches it.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str = "training",
        steps: int | None = None,
        every: int = 1,
        monitor: Monitor | None = None,
    ) -> None:
        """`name` stands in the report where a target does; `steps` is their number, where it is known, and
        every how many of them the layers are measured. Raises `GradscopeError` where the file exists."""
        self._path, self._name, self._steps, self._every = path, name, steps, every
        self._monitor = monitor
        self._recording: Recording | None = None
        self._quantities: tuple[str, ...] = ()
        self._names: Any = None
        """Those in the first state, on the device."""
        self._waiting: _Written | None = None
        self._losses: list[Any] = []
        self._given = 0
        """Steps that `write` was told of by a monitor's loop."""
        self._last = self._reached = -1
        """The last step that was recorded, and the last that was taken."""
        self._silent = jax.process_index() != 0
        if not self._silent:
            require_new(path)

    def write(self, measured: Any, loss: Any = None, *, step: int | None = None) -> None:
        """`measured` is the state of a recorded optimizer after the step, or anything that holds it (a
        TrainState, an `nnx.Optimizer`); or the numbers of the monitor, with an axis in front, as the losses,
        where a `scan` took several steps. `loss` is that of the step, a number or an array that is still
        being computed; `step` the number of a monitor's step, by default that after the one before."""
        if self._silent:
            return
        taken = self._of_state if self._monitor is None else self._of_monitor
        found = taken(measured, loss, step)
        if self._waiting is not None:
            self._settle(self._waiting)
        self._waiting = found

    def write_validation(self, loss: Any) -> None:
        """The loss of a validation batch after the steps so far; waits for the last one that was written."""
        if self._waiting is not None:
            self._settle(self._waiting)
        if self._recording is not None:
            self._recording.add_validation(ValidationRecord(self._reached + 1, float(loss)))

    def close(self, ending: Ending = Ending.COMPLETE) -> None:
        """Write what is still on its way, and that the training has ended."""
        if self._waiting is not None:
            self._settle(self._waiting)
        if self._recording is None:
            return
        if self._losses and self._last >= 0:
            known = tuple(float(each) for each in self._losses)
            self._recording.add_losses(LossRecord(self._reached, known))
        self._recording.end(ending, self._reached + 1)
        self._recording = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(Ending.COMPLETE if kind is None else Ending.INTERRUPTED)

    def _of_state(self, holder: Any, loss: Any, step: int | None) -> _Written:
        state = _state_in(holder)
        if step is not None:
            raise GradscopeError(
                "`step` was given beside the state of an optimizer.",
                why="The state itself counts the updates.",
                fix="Leave it out.",
                slug="bad-option",
            )
        # Copies, as the state may be given away to the next step.
        if self._names is None:
            self._names = jnp.copy(state.layers)
        elif np.shape(self._names) != np.shape(state.layers):
            raise GradscopeError(
                "The optimizer's state is that of another model.",
                why="Its layers are not those of the first step that was recorded.",
                fix="Give each model a `gradscope.Recorder` of its own.",
                slug="bad-option",
            )
        losses = [] if loss is None else [loss]
        return _Written(jnp.copy(state.numbers), jnp.copy(state.updates), losses)

    def _of_monitor(self, numbers: Any, loss: Any, step: int | None) -> _Written:
        assert self._monitor is not None
        rank = 0 if numbers is None else getattr(numbers, "ndim", -1)
        if rank not in (0, 1, 2) or (rank and not self._monitor.layers):
            raise GradscopeError(
                "These are not the numbers of the recorder's monitor.",
                why="They are the vector that its `value_and_grad` gave, in this process.",
                fix="Call `recorder.write(numbers, loss)`.",
                slug="bad-option",
            )
        losses = [] if loss is None else [loss]
        if rank == 2 and loss is not None and np.shape(loss) != np.shape(numbers)[:1]:
            raise GradscopeError(
                f"The numbers are of {len(numbers)} steps, and the loss has the shape {np.shape(loss)}.",
                why="An axis in front is that of a scan over steps, with one loss for each.",
                fix="Of gradient accumulation, write the numbers of one micro-batch: `numbers[-1]`.",
                slug="bad-option",
            )
        count = len(numbers) if rank == 2 else 1
        if step is not None and step < self._given:
            raise GradscopeError(
                f"Step {step} was recorded already.",
                why=f"The one before was step {self._given - 1}.",
                fix="Count on from there.",
                slug="bad-option",
            )
        self._given = (self._given if step is None else step) + count
        return _Written(None if numbers is None else jnp.copy(numbers), self._given, losses)

    def _begin(self, quantities: tuple[str, ...]) -> None:
        self._quantities = quantities
        if self._monitor is None:
            layers = tuple(map(RecordedLayer, names_of_layers(self._names)))
        else:
            layers = self._monitor.layers
        heading = Heading(
            self._name,
            "your optimizer",
            own=True,
            layers=layers,
            asked=self._steps,
            every=self._every,
            quantities=quantities,
            gradscope=__version__,
            jax=jax.__version__,
            backend=jax.default_backend(),
        )
        self._recording = Recording(self._path, heading)

    def _settle(self, seen: _Written) -> None:
        """Append the records that wait, unless the last is that of the call before: not every step is
        measured."""
        self._waiting, self._reached = None, int(seen.reached) - 1
        losses = [float(each) for value in seen.losses for each in np.ravel(value)]
        if seen.vector is None:
            self._losses += losses
            return
        vectors = np.atleast_2d(np.asarray(seen.vector, np.float64))
        first = self._reached - len(vectors) + 1
        for place, vector in enumerate(vectors):
            self._losses += losses[place : place + 1] if len(vectors) > 1 else losses
            if self._monitor is None:
                count, norm, *numbers = vector.tolist()
                rows = np.reshape(numbers, (len(OF_PARAMETERS), -1))
            else:
                count = first + place
                norm, rows = self._monitor.values(vector)
            if self._recording is None:
                self._begin(OF_PARAMETERS if self._monitor is None else QUANTITIES[: len(rows)])
            if not (math.isnan(count) or int(count) == self._last):
                self._add(int(count), norm, rows.tolist())

    def _add(self, step: int, norm: float, rows: Sequence[Sequence[float]]) -> None:
        assert self._recording is not None
        self._last = step
        unknown = [[math.nan] * len(rows[0])] * (len(self._quantities) - len(rows))
        values = tuple(tuple(row) for row in [*rows, *unknown][: len(self._quantities)])
        self._recording.add(StepRecord(step, tuple(self._losses), norm, values))
        self._losses = []


def _state_in(value: Any) -> RecordedState:
    """The one in an optimizer's state, wherever it lies."""
    for name in ("opt_state", "state"):
        inner = getattr(value, name, None)
        if inner is not None and not isinstance(value, RecordedState):
            value = inner
            break
    nodes = jax.tree.leaves(value, is_leaf=lambda node: isinstance(node, RecordedState))
    found = next((node for node in nodes if isinstance(node, RecordedState)), None)
    if found is None:
        raise GradscopeError(
            "There is nothing recorded in this optimizer's state.",
            fix="Make the optimizer by `gradscope.recorded(optax.adam(1e-3))`, and give the state after an "
            "update; of a `gradscope.Monitor`, make the recorder with `monitor=monitor`.",
            slug="bad-option",
        )
    return found
