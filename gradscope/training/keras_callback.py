"""`gradscope.keras_callback`: the training of a Keras model by its own `fit`, recorded layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from gradscope.errors import GradscopeError
from gradscope.load.model.frameworks.base import nested, unnested
from gradscope.load.model.frameworks.keras import require_jax, variable_paths
from gradscope.training.recorder import Recorder
from gradscope.training.watched_loss import Monitor

_TAKEN = "gradscope"
"""Among the logs of a measured step, taken out before Keras sees them."""

_Step = Callable[[Any, Any], tuple[dict[str, Any], Any]]


def keras_callback(path: str, *, name: str | None = None, every: int = 1) -> Any:
    """`gradscope.keras_callback`: a callback for `model.fit` that records each `every`th batch to a new file.

    `model.fit(x, y, callbacks=[gradscope.keras_callback("run.jsonl")])` measures activations, δ, gradient and
    weight of every layer inside the compiled step of Keras, on the JAX backend; optimizer, metrics and state
    are Keras's own. `name` stands in the report where a target does. Raises `GradscopeError` where the file
    exists, on another backend, and for a model with a `train_step` of its own.
    """
    if every < 1:
        raise GradscopeError(f"every is {every}.", fix="Give a number of 1 or more.", slug="bad-option")
    require_jax()
    return _Callback(path, name, every)


class _Callback(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, path: str, name: str | None, every: int) -> None:
        super().__init__()
        self._path, self._name, self._every = path, name, every
        self._monitor: Monitor | None = None
        self._recorder: Recorder | None = None
        self._plain: _Step | None = None
        self._batches = 0

    def set_model(self, model: Any) -> None:
        """`fit` hands the model over before it makes its compiled step; then that is asked of us."""
        super().set_model(model)
        if self._recorder is not None:
            return
        if type(model).train_step is not keras.Model.train_step or model.steps_per_execution > 1:
            raise GradscopeError(
                f"The model `{model.name}` cannot be recorded by a callback.",
                why="It has a `train_step` of its own, or several steps in one execution.",
                fix="Use `gradscope.Monitor` in that `train_step`: it takes the place of "
                "`jax.value_and_grad`.",
                slug="bad-option",
            )
        model.make_train_function = self._make_train_function

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._recorder is not None and logs and "val_loss" in logs:
            self._recorder.write_validation(logs["val_loss"])

    def on_train_end(self, logs: Any = None) -> None:
        if self._recorder is not None:
            self._recorder.close()
        self.model.train_function, self._recorder = self._plain, None

    def _make_train_function(self, force: bool = False) -> None:
        """Keras makes two of them: its own, and one whose step measures."""
        del force
        model = self.model
        del model.make_train_function
        model.make_train_function(force=True)
        self._plain = model.train_function
        model.train_step = self._train_step
        try:
            model.make_train_function(force=True)
        finally:
            del model.train_step
        self._monitor = Monitor(self._loss, has_aux=True)
        self._recorder = Recorder(
            self._path, name=self._name or model.name, every=self._every, monitor=self._monitor
        )
        self._batches = 0
        model.train_function = self._recording(self._plain, model.train_function)

    def _recording(self, plain: _Step, measured: _Step) -> _Step:
        def run(state: Any, iterator: Any) -> tuple[dict[str, Any], Any]:
            if self._recorder is None:
                return plain(state, iterator)
            due = self._batches % self._every == 0
            logs, state = (measured if due else plain)(state, iterator)
            self._recorder.write(*(logs.pop(_TAKEN) if due else (None,)))
            self._batches += 1
            return logs, state

        return run

    def _loss(self, named: Any, *others: Any, optimizer_variables: Any) -> tuple[Any, Any]:
        values = unnested(self._paths, named)
        found: tuple[Any, Any] = self.model.compute_loss_and_updates(
            values, *others, training=True, optimizer_variables=optimizer_variables
        )
        return found

    @property
    def _paths(self) -> Any:
        return variable_paths(self.model.trainable_variables, self.model.name)

    def _train_step(self, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
        """That of Keras, with the monitor in the place of `jax.value_and_grad`."""
        assert self._monitor is not None
        model = self.model
        trained, rest, of_optimizer, of_metrics = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        (_, aux), gradients, numbers = self._monitor.value_and_grad(
            nested(self._paths, trained),
            rest,
            of_metrics,
            x,
            y,
            sample_weight,
            optimizer_variables=of_optimizer,
        )
        loss, y_pred, rest, of_metrics = aux
        trained, of_optimizer = model.optimizer.stateless_apply(
            of_optimizer, unnested(self._paths, gradients), trained
        )
        logs, of_metrics = model._update_metrics_variables(of_metrics, loss, x, y, y_pred, sample_weight)
        return {**logs, _TAKEN: (numbers, loss)}, (trained, rest, of_optimizer, of_metrics)
