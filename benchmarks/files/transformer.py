"""A 12-layer transformer, as a user's problem file."""

from benchmarks.models import transformer

_model = transformer()
loss_fn, params, batch = _model.loss_fn, _model.params, _model.batch
