"""Writes what `recorded` measured in a user's own loop to a recording, one step behind."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope import __version__
from gradscope.errors import GradscopeError
from gradscope.recording.file import Recording, require_new
from gradscope.records import Ending, Heading, LossRecord, RecordedLayer, StepRecord
from gradscope.records.history import OF_PARAMETERS
from gradscope.training.recorded import RecordedState


class Recorder:
    """`gradscope.Recorder`: appends the numbers of an optimizer made by `gradscope.recorded` to a new file.

    Call `write(opt_state, loss)` after each step, or after every so many. It copies one small vector on the
    device, and writes what the call before had copied: it waits for that step at most, never for its own. Of
    several processes only the first one writes. As a context manager, or by `close`, the last record is
    written, too. `gradscope report FILE` judges and draws the file, and `gradscope monitor --follow FILE`
    watches it.
    """

    def __init__(
        self, path: str, *, name: str = "training", steps: int | None = None, every: int = 1
    ) -> None:
        """`name` stands in the report where a target does; `steps` is their number, where it is known, and
        `every` that of `gradscope.recorded`. Raises `GradscopeError` where the file exists."""
        self._path, self._name, self._steps, self._every = path, name, steps, every
        self._recording: Recording | None = None
        self._layers: tuple[str, ...] = ()
        self._waiting: tuple[Any, Any, list[Any]] | None = None
        self._losses: list[Any] = []
        self._last = self._reached = -1
        """The last step that was recorded, and the last that was taken."""
        self._silent = jax.process_index() != 0
        if not self._silent:
            require_new(path)

    def write(self, opt_state: Any, loss: Any = None) -> None:
        """`opt_state` is the state after the step, or anything that holds it (a TrainState, an
        `nnx.Optimizer`); `loss` that of the step, a number or an array that is still being computed."""
        if self._silent:
            return
        state = _state_in(opt_state)
        if self._recording is None:
            self._begin(state)
        elif state.layers != self._layers:
            raise GradscopeError(
                "The optimizer's state is that of another model.",
                why="Its layers are not those of the first step that was recorded.",
                fix="Give each model a `gradscope.Recorder` of its own.",
                slug="bad-option",
            )
        if loss is not None:
            self._losses.append(loss)
        if self._waiting is not None:
            self._settle()
        # A copy, as the state may be given away to the next step.
        self._waiting = jnp.copy(state.numbers), jnp.copy(state.count), self._losses
        self._losses = []

    def close(self, ending: Ending = Ending.COMPLETE) -> None:
        """Write what is still on its way, and that the training has ended."""
        if self._waiting is not None:
            self._settle()
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

    def _begin(self, state: RecordedState) -> None:
        self._layers = state.layers
        heading = Heading(
            self._name,
            "your optimizer",
            own=True,
            layers=tuple(map(RecordedLayer, state.layers)),
            asked=self._steps,
            every=self._every,
            quantities=OF_PARAMETERS,
            gradscope=__version__,
            jax=jax.__version__,
            backend=jax.default_backend(),
        )
        self._recording = Recording(self._path, heading)

    def _settle(self) -> None:
        """Append the record that waits, unless it is that of the call before: not every step is measured."""
        assert self._waiting is not None
        assert self._recording is not None
        vector, taken, losses = self._waiting
        self._waiting, self._reached = None, int(taken) - 1
        count, norm, *numbers = np.asarray(vector, np.float64).tolist()
        if math.isnan(count) or int(count) == self._last:
            self._losses = [*losses, *self._losses]
            return
        self._last = int(count)
        rows = np.reshape(numbers, (len(OF_PARAMETERS), len(self._layers))).tolist()
        known = tuple(float(each) for each in losses)
        self._recording.add(StepRecord(self._last, known, norm, tuple(tuple(row) for row in rows)))


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
            "update.",
            slug="bad-option",
        )
    return found
