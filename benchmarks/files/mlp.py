"""A small MLP, as a user's problem file."""

from benchmarks.models import mlp

_model = mlp(width=64, depth=3, rows=64)
loss_fn, params, batch = _model.loss_fn, _model.params, _model.batch
