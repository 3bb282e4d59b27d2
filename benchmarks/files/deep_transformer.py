"""A transformer of `LAYERS` layers, as a user's problem file; layer `EDITED` has another activation."""

import os

from benchmarks.models import transformer

_edited = os.environ.get("EDITED")
_model = transformer(int(os.environ["LAYERS"]), edited=None if _edited is None else int(_edited))
loss_fn, params, batch = _model.loss_fn, _model.params, _model.batch
