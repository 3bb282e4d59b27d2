"""The problem: the loss, params and batches of a user's file or library call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from gradscope.load.data.batches import BatchSource, RowSource, SingleBatch, unused_size
from gradscope.load.data.prefetched import PrefetchedSource
from gradscope.load.data.sources import checked_batch, source_of
from gradscope.load.leaves import checked_params, conversion_notes
from gradscope.load.model.frameworks.base import OpenedModel
from gradscope.load.model.frameworks.table import loss_of, watched
from gradscope.load.model.open_model import open_params
from gradscope.load.model.optimizer_state import resumed
from gradscope.load.model.optimizers import checked_candidates, checked_optimizer
from gradscope.load.model.train_step import TrainStep, step_of
from gradscope.load.placement import ArrayPlaces, OwnPlaces
from gradscope.load.shapes import evaluated
from gradscope.load.signature.arguments import Arguments, arrange, params_name
from gradscope.load.signature.keys import NO_KEY, prng_key
from gradscope.load.signature.losses import bound, name_of
from gradscope.load.usercode.user_code import user_code


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Problem:
    """A scalar loss, the parameters it is differentiated by, and the batches it is measured on.

    Give one of `batch`, `batches` (an iterable, or a function that starts one) and `data` (arrays with a
    common leading axis, cut into batches of `batch_size`), or none where the loss closes over its data.
    Params may be the model object of a framework: it is opened, and the loss receives such an object again.
    `given` holds values for further parameters of the loss and of `train_step`, the step of the user's own
    loop, by name. Everything is checked here, so a `Problem` that exists can be measured: its first batch
    has been drawn.
    """

    loss_fn: Callable[..., Any]
    """The user's function as it is; `loss` calls it."""
    params: Any
    """A pytree of arrays; of a model object, its parameters as nested dicts by the names the user writes."""
    model: Any
    """The model object that was given as params, or `None`."""
    kinds: dict[tuple[str, ...], str]
    """The class of the module at each path: of a model object from the start, of modules that only the loss
    calls (Linen, Haiku) once it was traced."""
    optimizer: Any
    """An `optax.GradientTransformation`, or `None`."""
    optimizer_holder: Any
    """The object that `optimizer` was taken from: it itself, or one of a framework."""
    candidates: Mapping[str, Callable[[Any], Any]]
    """Optimizers of the user's own for `compare-optimizers`: functions of the learning rate, by name."""
    validation_batch: Any
    train_step: TrainStep | None
    """The step that the user's own loop makes."""
    batch_source: PrefetchedSource
    seed: int
    name: str
    """The name of the loss function."""
    notes: tuple[str, ...]
    """What loading decided and the user should know: float64 leaves that JAX makes float32, ..."""
    _loss: Callable[..., Any]
    _opened: OpenedModel | None
    _extra: Mapping[str, Any]
    _arguments: Arguments
    _factory: Callable[[int], Any] | None
    factory_makes_loss: bool
    """Whether another seed also gives another loss: `problem(key)` draws what its loss closes over."""
    _redraws: bool
    """Whether the random streams inside a model object are drawn by the key, too."""
    _place: ArrayPlaces

    def __init__(
        self,
        loss_fn: Callable[..., Any],
        params: Any = None,
        batch: Any = None,
        *,
        batches: Any = None,
        data: Any = None,
        optimizer: Any = None,
        candidates: Mapping[str, Callable[[Any], Any]] | None = None,
        validation_batch: Any = None,
        train_step: TrainStep | Callable[..., Any] | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        given: Mapping[str, Any] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        loss_fn = loss_of(loss_fn)
        name = name_of(loss_fn)
        source = source_of(batch, batches, data, seed, batch_size)
        prefetched = PrefetchedSource(source)
        first = prefetched.first()
        model = open_params(params, loss_fn, name, first, {"optimizer": optimizer, **(given or {})}, seed)
        extra = {**(given or {}), **(model.given if model else {})}
        arguments = arrange(loss_fn, first, name, extra, model.rngs if model else None)
        loss = bound(loss_fn, model)
        object_given = params if model else None
        params = checked_params(model.params if model else params)
        said = (*notes, *(model.notes if model else ()), *conversion_notes(params, "params"))
        said += _data_notes(arguments, source, first)
        self._set(
            loss_fn=loss_fn,
            params=params,
            model=object_given,
            kinds=dict(model.kinds) if model else {},
            optimizer=checked_optimizer(optimizer if optimizer is not None or not model else model.optimizer),
            optimizer_holder=optimizer,
            candidates=checked_candidates(candidates),
            validation_batch=checked_batch(validation_batch, "validation_batch"),
            train_step=step_of(train_step, given or {}),
            seed=seed,
            name=name,
            notes=tuple(dict.fromkeys(said)),
            _loss=loss,
            _opened=model,
            _extra=extra,
            _arguments=arguments,
            batch_source=prefetched,
            _factory=None,
            factory_makes_loss=False,
            _redraws=False,
            _place=OwnPlaces(),
        )
        if loss is not loss_fn:
            with user_code("calling the model"):
                evaluated(self.loss, params, first, self.key())

    def loss(self, params: Any, batch: Any, key: Any) -> tuple[Any, Any]:
        """`(value, aux)` of one batch, traceable; the user's function gets what its signature asks for.

        The value is what the user returned, unchecked. `aux` is what else was returned, and the state
        that the run changed in a model object: `None`, one thing, or a tuple.
        """

        def run(model: Any) -> Any:
            if self._redraws and self._opened and self._opened.redraw:
                self._opened.redraw(model, key)
            with watched(self.kinds):
                return self._arguments.call(self._loss, model, batch, key)

        result, state = self._opened.call(params, run) if self._opened else (run(params), None)
        value, *aux = result if isinstance(result, tuple) and len(result) > 1 else (result,)
        aux += [] if state is None else [state]
        return value, None if not aux else aux[0] if len(aux) == 1 else tuple(aux)

    def packed(self, params: Any) -> Any:
        """`params`, or a tree of their structure, as the user's optimizer gets them: a module, a `State`."""
        return self._opened.packed(params) if self._opened and self._opened.packed else params

    def batches(self) -> Iterator[Any]:
        """A new pass, which reads no more than is drawn and may be endless; `None` stands for "no batch"."""
        return self.batch_source.start()

    @property
    def takes_key(self) -> bool:
        """Whether the loss draws random numbers from the key that `loss` is given."""
        inside = self._redraws and self._opened is not None and self._opened.redraw is not None
        return self._arguments.takes_key or inside

    def key(self, draw: int = 0) -> Any:
        """The PRNG key of the batch number `draw`, the same for the same seed; zeros where none is read."""
        return jax.random.fold_in(prng_key(self.seed), draw) if self.takes_key else NO_KEY

    def with_options(self, *, seed: int, batch_size: int | None = None) -> Problem:
        """This problem with the options of the command line, which win over those of the user's code."""
        changed = copy.copy(self)
        changed._set(seed=seed)
        source = self.batch_source.source
        if isinstance(source, RowSource):
            rows = source.with_options(seed, batch_size)
            if rows is not source:
                kept = (note for note in self.notes if note not in source.notes)
                changed._set(batch_source=self.batch_source.over(rows), notes=(*kept, *rows.notes))
        elif batch_size is not None:
            changed._set(notes=(*self.notes, unused_size(batch_size)))
        return changed._map_seeds(lambda made: made.with_options(seed=made.seed, batch_size=batch_size))

    def for_training(self) -> Problem:
        """This problem for many steps: dropout inside a model object draws anew at each, as in real training,
        where the passes that measure one step leave the model as it is."""
        changed = copy.copy(self)
        changed._set(_redraws=True)
        return changed

    @property
    def root(self) -> str:
        """What the loss calls its parameters as a whole: `params`, `model`."""
        return params_name(self.loss_fn)

    @property
    def initial(self) -> Any:
        """The model object, or the params where none was given."""
        return self.params if self.model is None else self.model

    def with_factory(self, factory: Callable[[int], Any], makes_loss: bool = False) -> Problem:
        """This problem, with a function from a seed to its params or model, or to the whole problem."""
        changed = copy.copy(self)
        changed._set(_factory=factory, factory_makes_loss=makes_loss)
        return changed

    def _map_seeds(self, change: Callable[[Problem], Problem]) -> Problem:
        """Applies `change` to the problems of other seeds, too."""
        if self.factory_makes_loss and (factory := self._factory) is not None:
            self._set(_factory=lambda seed: change(factory(seed)))
        return self

    def reseeded(self, seed: int) -> Problem:
        """This problem for another seed: other keys, another order of rows, and other params and batches (and
        another loss) where a function of the key makes them. What is given as a value stays."""
        if self.factory_makes_loss and self._factory is not None:
            made: Problem = self._factory(seed)
            return made.with_options(seed=seed).with_factory(self._factory, makes_loss=True)
        changed = self.with_options(seed=seed)
        return changed if self._factory is None else changed.with_initial(self._factory(seed))

    def with_initial(self, made: Any) -> Problem:
        """This problem at other params, or at another object of its model."""
        first = self.batch_source.first()
        model = open_params(made, self.loss_fn, self.name, first, self._extra, self.seed)
        extra = {**self._extra, **(model.given if model else {})}
        changed = copy.copy(self)
        params = self._place.params(checked_params(model.params if model else made))
        changed._set(params=params, _opened=model, _extra=extra)
        changed._set(model=made if model else None, _loss=bound(self.loss_fn, model))
        changed._set(_arguments=arrange(self.loss_fn, first, self.name, extra, model.rngs if model else None))
        return changed

    def with_params(self, params: Any, notes: tuple[str, ...] = ()) -> Problem:
        """This problem at other params of the same structure; `reseeded` then leaves them as they are."""
        changed = copy.copy(self)
        changed._set(params=params, notes=(*self.notes, *notes), _factory=None, factory_makes_loss=False)
        return changed

    def placed(self, placement: ArrayPlaces, *notes: str) -> Problem:
        """This problem with its params and batches where `placement` puts them, from other seeds, too."""
        changed = copy.copy(self)
        changed._set(params=placement.params(self.params), _place=placement, notes=(*self.notes, *notes))
        changed._set(batch_source=self.batch_source.placed(placement.batch))
        if self.validation_batch is not None:
            changed._set(validation_batch=placement.batch(self.validation_batch))
        return changed._map_seeds(lambda made: made.placed(placement, *notes))

    def in_training(self, state: Any) -> Problem:
        """This problem in the midst of a training of its optimizer."""
        changed = copy.copy(self)
        changed._set(optimizer=None if self.optimizer is None else resumed(self.optimizer, state))
        return changed

    @property
    def has_one_batch(self) -> bool:
        """The file gives `batch`, and nothing to draw a second one from."""
        return isinstance(self.batch_source.source, SingleBatch)

    def draws_from(self, source: RowSource) -> bool:
        return self.batch_source.source is source

    def with_batches(self, source: RowSource) -> Problem:
        """This problem on other data; the arguments of the loss are matched to the new first batch."""
        prefetched = self.batch_source.over(source)
        first = prefetched.first()
        rngs = self._opened.rngs if self._opened else None
        arguments = arrange(self.loss_fn, first, self.name, self._extra, rngs)
        before = _data_notes(self._arguments, self.batch_source.source, self.batch_source.first())
        kept = (note for note in self.notes if note not in before)
        changed = copy.copy(self)
        changed._set(_arguments=arguments, batch_source=prefetched)
        changed._set(notes=(*kept, *_data_notes(arguments, source, first)))
        return changed._map_seeds(lambda made: made.with_batches(source))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _data_notes(arguments: Arguments, source: BatchSource, first: Any) -> tuple[str, ...]:
    rows = source.notes if isinstance(source, RowSource) else ()
    return (*arguments.notes, *rows, *conversion_notes(first, "batch"))
